"""Search: an index of all names in the documents, and queries on it."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from kit.asyncapi.reader import DocumentReader, Json
from portal.documents import Library
from portal.fields import Field, fields, flat

MAX_RESULTS = 50
_NO_MATCH = 9


class Entry(NamedTuple):
    """A search entry: kind, name, description and the address of the page that shows it."""

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
    """Return the address of the page with AsyncAPI's own component."""
    return f"{service_page(name)}/reference"


def index(library: Library, system: DocumentReader) -> list[Entry]:
    """Return all search entries, the most important first."""
    return list(dict.fromkeys([*_services(library), *_system(system)]))


def find(entries: list[Entry], query: str) -> list[Entry]:
    """Return the entries that contain every word of the query, best match first, at most `MAX_RESULTS`.

    The order is: the name equals the query, starts with it, contains every word, only the text contains every word.
    """
    words = query.lower().split()
    phrase = " ".join(words)
    scored = [(_score(entry, words, phrase), index, entry) for index, entry in enumerate(entries)] if words else []
    return [entry for score, _, entry in sorted(scored) if score < _NO_MATCH][:MAX_RESULTS]


def _score(entry: Entry, words: list[str], phrase: str) -> int:
    name, rest = entry.name.lower(), f"{entry.name} {entry.kind} {entry.text}".lower()
    if not all(word in rest for word in words):
        return _NO_MATCH
    if name == phrase:
        return 0
    if name.startswith(phrase):
        return 1
    return 2 if all(word in name for word in words) else 3


def _services(library: Library) -> Iterator[Entry]:
    for name in library.services:
        description = library.documents[name].content.get("info", {}).get("description", "")
        yield Entry("service", name, _line(description), service_page(name))


def _system(system: DocumentReader) -> Iterator[Entry]:
    for name, message in system.messages.items():
        yield Entry(system.kind_of(name), name, _line(message.get("summary", "")), message_page(name))
    for channel in system.channels.values():
        for name in channel.messages if channel.address else ():
            yield Entry("subject", channel.address, name, message_page(name))
    for stream, channels in system.streams.items():
        subjects = ", ".join(channel.address for channel in channels)
        yield Entry("stream", stream, f"stores {subjects}", stream_page(stream))
    for name, message in system.messages.items():
        yield from _parts(system, name, message)
    yield from _headers(system)


def _parts(system: DocumentReader, name: str, message: Json) -> Iterator[Entry]:
    for problem in message.get("x-problems", ()):
        text = f"{problem.get('kind', '')}. {problem.get('description', '')}"
        yield Entry("problem", problem.get("slug", ""), text, f"{message_page(name)}#problems")
    for field in flat(fields(system, message.get("payload", {}))):
        yield _field(name, field)


def _headers(system: DocumentReader) -> Iterator[Entry]:
    """Yield one entry per header, not one per message that has it: those were half of the index."""
    messages: dict[tuple[str, str], list[str]] = {}
    for name, message in system.messages.items():
        for field in fields(system, message.get("headers", {})):
            messages.setdefault((field.name, _describe(field)), []).append(name)
    for (header, description), names in messages.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield Entry("header", header, f"of {names[0]}{more}: {description}", f"{message_page(names[0])}#headers")


def _field(message: str, field: Field) -> Entry:
    anchor = quote(f"field-{field.path}", safe="")
    return Entry("field", field.path, f"of {message}: {_describe(field)}", f"{message_page(message)}#{anchor}")


def _describe(field: Field) -> str:
    return f"{field.type}. {_line(field.description)}" if field.description else field.type


def _line(text: str) -> str:
    return text.strip().partition("\n")[0]
