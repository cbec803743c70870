"""Files that pages load: stored compressed, under addresses that change with their content."""

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

PREFIX = "/portal-assets"

_PACKAGE = Path(__file__).parent
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """A file; `compressed` is its content as gzip, `digest` identifies this content."""

    compressed: bytes
    media_type: str
    digest: str

    @property
    def content(self) -> bytes:
        """The uncompressed content, for clients that do not accept gzip."""
        return gzip.decompress(self.compressed)


@cache
def assets() -> Mapping[str, Asset]:
    """Return all assets by file name; vendored files keep the name that they have in their package."""
    own = {file.name: gzip.compress(file.read_bytes(), mtime=0) for file in (_PACKAGE / "assets").iterdir()}
    vendored = {file.stem: file.read_bytes() for file in (_PACKAGE / "vendor").glob("*/*.gz")}
    return {name: _asset(name, compressed) for name, compressed in (own | vendored).items()}


def address(name: str) -> str:
    """Return the address of an asset. Raises `KeyError` if there is no asset of this name."""
    return f"{PREFIX}/{assets()[name].digest}/{name}"


def _asset(name: str, compressed: bytes) -> Asset:
    return Asset(compressed, _MEDIA_TYPES[Path(name).suffix], hashlib.sha256(compressed).hexdigest()[:16])
