"""The versions in which a message changed, from the documents of each release."""

import hashlib
import json
from collections import ChainMap
from collections.abc import Mapping
from typing import NamedTuple

from kit.asyncapi.reader import DocumentReader, Json
from portal.documents import Document
from portal.fields import fields, flat

UNRELEASED = "unreleased"


class Change(NamedTuple):
    """A version in which the message was added (`first`) or changed."""

    version: str
    first: bool
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def history(system: DocumentReader, released: Mapping[str, list[Document]], name: str) -> list[Change]:
    """Return the versions that changed the message's content, newest first; `UNRELEASED` is the current one."""
    versions = [*((version, _merge(documents)) for version, documents in released.items()), (UNRELEASED, system)]
    changes: list[Change] = []
    before: dict[str, str] = {}
    last_digest = ""
    for version, reader in versions:
        if name not in reader.messages:
            before, last_digest = {}, ""
            continue
        now, digest = _fields(reader, name), _digest(reader, name)
        if digest != last_digest:
            changes.append(
                Change(
                    version,
                    first=not last_digest,
                    added=tuple(now.keys() - before.keys()) if last_digest else (),
                    removed=tuple(before.keys() - now.keys()),
                    changed=tuple(path for path in now if path in before and now[path] != before[path]),
                )
            )
        before, last_digest = now, digest
    return [
        change._replace(added=tuple(sorted(change.added)), removed=tuple(sorted(change.removed)))
        for change in reversed(changes)
    ]


def _merge(documents: list[Document]) -> DocumentReader:
    """Return one reader of a release's documents; a message in two of them is the same in both."""
    parts = [document.content.get("components", {}) for document in documents]
    names = ("messages", "schemas")
    return DocumentReader({"components": {name: ChainMap(*(part.get(name, {}) for part in parts)) for name in names}})


def _fields(system: DocumentReader, name: str) -> dict[str, str]:
    message = system.messages[name]
    described = {
        f"{part} {field.path}": repr(field._replace(fields=(), description=""))
        for part in ("headers", "payload")
        for field in flat(fields(system, message.get(part, {})))
    }
    return {path.removeprefix("payload "): text for path, text in described.items()}


def _digest(system: DocumentReader, name: str) -> str:
    message = system.messages[name]
    content = [_expand(system, message.get(part, {}), ()) for part in ("headers", "payload")]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _expand(system: DocumentReader, node: object, seen: tuple[str, ...]) -> object:
    """Return the schema with references resolved and without titles, descriptions and examples."""
    if isinstance(node, list):
        return [_expand(system, part, seen) for part in node]
    if not isinstance(node, Mapping):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        target: Json = {} if reference in seen else system.schema(node)
        return {"$ref": reference, "is": _expand(system, target, (*seen, reference))}
    return {
        key: _expand(system, part, seen)
        for key, part in node.items()
        if key not in {"title", "description", "examples"} or isinstance(part, Mapping)
    }
