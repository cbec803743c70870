"""The AsyncAPI documents: as `mkstore docs` wrote them, beside the services' package."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import apps

FOLDER = Path(apps.__file__).resolve().parent.parent / "asyncapi"
WHOLE = "mkstore"
"""What the document of the whole system is called; the others are called as their services."""

Json = Mapping[str, Any]


class Document:
    """One document; `body` is the file, byte for byte, and `name` says of which service."""

    def __init__(self, name: str, body: bytes) -> None:
        self.name, self.body = name, body

    @cached_property
    def content(self) -> Json:
        """What the file says."""
        content: Json = json.loads(self.body)
        return content


class Library:
    """All documents as they stood at one moment, and those of each version that was released, the oldest first."""

    def __init__(self, documents: Mapping[str, Document], released: Mapping[str, list[Document]]) -> None:
        self.documents, self.released = documents, released

    @property
    def services(self) -> list[str]:
        """Who has a document of its own."""
        return [name for name in self.documents if name != WHOLE]


def library(folder: Path) -> Library:
    """Read every document in `folder`, once for as long as no file changes; an empty library where there is none."""
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("released/*/*.json"))]
    return _read(folder, tuple((file, (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files))


@lru_cache(maxsize=2)
def _read(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> Library:
    documents: dict[str, Document] = {}
    released: dict[str, list[Document]] = defaultdict(list)
    for file, _, _ in stamps:
        document = Document(file.stem, file.read_bytes())
        if file.parent == folder:
            documents[file.stem] = document
        elif "asyncapi" in document.content:  # a release keeps OpenAPI beside it
            released[file.parent.name].append(document)
    return Library(documents, {version: released[version] for version in sorted(released, key=_order)})


def _order(version: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.+-]", version)]
