"""Search: an index of what has a name in the documents, and what a query finds in it."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from portal.documents import Json, Library
from portal.fields import Field, fields, flat
from portal.system import System

MOST = 50
_NOT = 9


class Entry(NamedTuple):
    """One thing that can be found: of what kind, its name, what is said of it, and the page that shows it."""

    kind: str
    name: str
    text: str
    href: str


def message_page(name: str) -> str:
    """Return the address of a message's page."""
    return f"/asyncapi/messages/{quote(name, safe='')}"


def stream_page(name: str) -> str:
    """Return the address of a stream's page."""
    return f"/asyncapi/streams/{quote(name, safe='')}"


def service_page(name: str) -> str:
    """Return the address of a service's page."""
    return f"/asyncapi/{quote(name, safe='')}"


def reference_page(name: str) -> str:
    """Return the address of a service's document, drawn by AsyncAPI's component."""
    return f"{service_page(name)}/reference"


def index(library: Library, system: System) -> list[Entry]:
    """List everything that can be found, the more important first."""
    return list(dict.fromkeys([*_services(library), *_system(system)]))


def find(entries: list[Entry], query: str) -> list[Entry]:
    """Return the entries that hold every word of the query, the best first, at most `MOST`.

    A name that is the query is better than one that begins with it, than one that holds it, than a text that does.
    """
    words = query.lower().split()
    whole = " ".join(words)
    scored = [(_score(entry, words, whole), at, entry) for at, entry in enumerate(entries)] if words else []
    return [entry for score, _, entry in sorted(scored) if score < _NOT][:MOST]


def _score(entry: Entry, words: list[str], whole: str) -> int:
    name, rest = entry.name.lower(), f"{entry.name} {entry.kind} {entry.text}".lower()
    if not all(word in rest for word in words):
        return _NOT
    if name == whole:
        return 0
    if name.startswith(whole):
        return 1
    return 2 if all(word in name for word in words) else 3


def _services(library: Library) -> Iterator[Entry]:
    for name in library.services:
        said = library.documents[name].content.get("info", {}).get("description", "")
        yield Entry("service", name, _line(said), service_page(name))


def _system(system: System) -> Iterator[Entry]:
    for name, message in system.messages.items():
        yield Entry(system.kind_of(name), name, _line(message.get("summary", "")), message_page(name))
    for channel in system.channels.values():
        for name in channel.messages if channel.address else ():
            yield Entry("subject", channel.address, name, message_page(name))
    for stream, channels in system.streams.items():
        kept = ", ".join(channel.address for channel in channels)
        yield Entry("stream", stream, f"keeps {kept}", stream_page(stream))
    for name, message in system.messages.items():
        yield from _inside(system, name, message)


def _inside(system: System, name: str, message: Json) -> Iterator[Entry]:
    for problem in message.get("x-problems", ()):
        text = f"{problem.get('kind', '')}. {problem.get('description', '')}"
        yield Entry("problem", problem.get("slug", ""), text, f"{message_page(name)}#problems")
    for field in flat(fields(system, message.get("payload", {}))):
        yield _field(name, field)
    for field in fields(system, message.get("headers", {})):
        yield Entry("header", field.name, f"of {name}: {_said(field)}", f"{message_page(name)}#headers")


def _field(message: str, field: Field) -> Entry:
    anchor = quote(f"field-{field.path}", safe="")
    return Entry("field", field.path, f"of {message}: {_said(field)}", f"{message_page(message)}#{anchor}")


def _said(field: Field) -> str:
    return f"{field.type}. {_line(field.description)}" if field.description else field.type


def _line(text: str) -> str:
    return text.strip().partition("\n")[0]
