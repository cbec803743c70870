"""The AsyncAPI documents, as `mkstore docs` wrote them."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path

from kit.asyncapi.reader import Json

WHOLE = "mkstore"
"""Name of the document of the whole system; the other documents have the name of their service."""


class Document:
    """One document; `body` is the file, byte for byte."""

    def __init__(self, name: str, body: bytes) -> None:
        self.name, self.body = name, body

    @cached_property
    def content(self) -> Json:
        """The parsed JSON."""
        content: Json = json.loads(self.body)
        return content


class Library:
    """All current documents by name, and those of each release by version, oldest release first."""

    def __init__(self, documents: Mapping[str, Document], released: Mapping[str, list[Document]]) -> None:
        self.documents, self.released = documents, released

    @property
    def services(self) -> list[str]:
        """The names of the services that have a document."""
        return [name for name in self.documents if name != WHOLE]


def library(folder: Path) -> Library:
    """Return the documents in `folder`, cached until a file changes; empty if the folder does not exist."""
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("released/*/*.json"))]
    return _read(folder, tuple((file, (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files))


@lru_cache(maxsize=2)
def _read(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> Library:
    documents: dict[str, Document] = {}
    released: dict[str, list[Document]] = defaultdict(list)
    for file, _, _ in files:
        document = Document(file.stem, file.read_bytes())
        if file.parent == folder:
            documents[file.stem] = document
        elif "asyncapi" in document.content:  # a release also contains OpenAPI documents
            released[file.parent.name].append(document)
    return Library(documents, {version: released[version] for version in sorted(released, key=_version_order)})


def _version_order(version: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.+-]", version)]
