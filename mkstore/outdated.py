"""Tells which committed AsyncAPI documents are not those of the code. NATS grants a service what its document lists.

The comparison imports every service, which takes seconds of processor time. So the digest of the sources and documents
that agreed last is kept in the project's root, and nothing is imported while it stays the same.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mkstore import generated
from mkstore.services import ServiceSpec

CACHE = ".mkstore_cache/documents"
"""Path of the digest, below the project's root."""

Build = Callable[[Sequence[ServiceSpec]], Mapping[str, Mapping[str, Any]]]
"""Returns the AsyncAPI document of each service, by its name, from its code."""

_SOURCES = ("apps/**/*.py", "contracts/**/*.py", "kit/**/*.py", "asyncapi/*.json", "uv.lock")


def outdated(specs: Sequence[ServiceSpec], root: Path = generated.ROOT, build: Build | None = None) -> list[str]:
    """Return the path, relative to `root`, of each document that is missing or differs from its service's code.

    OpenAPI documents are not compared: no right depends on them. `build` returns the documents of the code, by default
    `mkstore.documents.asyncapi_of`. Raises `NotDocumented` if a service has none.
    """
    cache, digest = root / CACHE, _digest(root)
    with contextlib.suppress(OSError):
        if cache.read_text() == digest:
            return []
    documents = {f"asyncapi/{service}.json": document for service, document in (build or _from_code)(specs).items()}
    changed = [path for path, document in documents.items() if _committed(root / path) != document]
    if not changed:
        with contextlib.suppress(OSError):  # an installation that only root may write
            cache.parent.mkdir(exist_ok=True)
            cache.write_text(digest)
    return changed


def _from_code(specs: Sequence[ServiceSpec]) -> Mapping[str, Mapping[str, Any]]:
    from mkstore.documents import asyncapi_of  # noqa: PLC0415 - imports FastStream, half a second

    return asyncapi_of(specs)


def _committed(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _digest(root: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in _sources(root):
        # With the lengths, a text that moves from one file to the next is a change.
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(root)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    for pattern in _SOURCES:
        yield from sorted(root.glob(pattern))
