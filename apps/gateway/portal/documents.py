"""The AsyncAPI documents: as `mkstore docs` wrote them, beside the services' package."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import apps

FOLDER = Path(apps.__file__).resolve().parent.parent / "asyncapi"


class Document(NamedTuple):
    """One service's document; `body` is the file, byte for byte."""

    service: str
    body: bytes

    @property
    def etag(self) -> str:
        """Say which version of the file this is (RFC 9110)."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'

    @property
    def content(self) -> Mapping[str, Any]:
        """What the file says."""
        content: Mapping[str, Any] = json.loads(self.body)
        return content


def documents(folder: Path) -> dict[str, Document]:
    """Read every document in `folder`, by service and in that order; none where there is no such folder."""
    return {file.stem: Document(file.stem, file.read_bytes()) for file in sorted(folder.glob("*.json"))}
