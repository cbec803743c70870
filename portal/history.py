"""In which versions a message was another one: told from the documents that each release has left."""

import hashlib
import json
from collections import ChainMap
from collections.abc import Mapping
from typing import NamedTuple

from portal.documents import Document, Json
from portal.fields import fields, flat
from portal.system import System

UNRELEASED = "unreleased"


class Change(NamedTuple):
    """A version in which the message appeared, or was another one than in the version before."""

    version: str
    first: bool
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def history(system: System, released: Mapping[str, list[Document]], name: str) -> list[Change]:
    """Return the versions that changed the message's content, newest first; `UNRELEASED` is what is here today."""
    versions = [*((version, _together(documents)) for version, documents in released.items()), (UNRELEASED, system)]
    changes: list[Change] = []
    before: dict[str, str] = {}
    known = ""
    for version, said in versions:
        if name not in said.messages:
            before, known = {}, ""
            continue
        now, digest = _fields(said, name), _digest(said, name)
        if digest != known:
            changes.append(
                Change(
                    version,
                    first=not known,
                    added=tuple(now.keys() - before.keys()) if known else (),
                    removed=tuple(before.keys() - now.keys()),
                    changed=tuple(path for path in now if path in before and now[path] != before[path]),
                )
            )
        before, known = now, digest
    return [
        change._replace(added=tuple(sorted(change.added)), removed=tuple(sorted(change.removed)))
        for change in reversed(changes)
    ]


def _together(documents: list[Document]) -> System:
    """Read a release's documents as one: a message that two of them have is the same in both."""
    parts = [document.content.get("components", {}) for document in documents]
    names = ("messages", "schemas")
    return System({"components": {name: ChainMap(*(part.get(name, {}) for part in parts)) for name in names}})


def _fields(system: System, name: str) -> dict[str, str]:
    message = system.messages[name]
    found = {
        f"{part} {field.path}": repr(field._replace(fields=(), description=""))
        for part in ("headers", "payload")
        for field in flat(fields(system, message.get(part, {})))
    }
    return {path.removeprefix("payload "): said for path, said in found.items()}


def _digest(system: System, name: str) -> str:
    message = system.messages[name]
    content = [_whole(system, message.get(part, {}), ()) for part in ("headers", "payload")]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _whole(system: System, node: object, inside: tuple[str, ...]) -> object:
    """Put what a schema refers to in the reference's place, and leave out what only a reader sees."""
    if isinstance(node, list):
        return [_whole(system, part, inside) for part in node]
    if not isinstance(node, Mapping):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        found: Json = {} if reference in inside else system.schema(node)
        return {"$ref": reference, "is": _whole(system, found, (*inside, reference))}
    return {
        key: _whole(system, part, inside)
        for key, part in node.items()
        if key not in {"title", "description", "examples"} or isinstance(part, Mapping)
    }
