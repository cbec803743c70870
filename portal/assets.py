"""The files that the pages load: kept compressed, under addresses that change with their content."""

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

PREFIX = "/portal-assets"

_HERE = Path(__file__).parent
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """One file: its content as gzip, and an address that is good for ever."""

    compressed: bytes
    media_type: str
    digest: str

    @property
    def content(self) -> bytes:
        """The file as it is for those who do not take gzip."""
        return gzip.decompress(self.compressed)


@cache
def assets() -> Mapping[str, Asset]:
    """Read all of them, by name; a vendored one is called as in its package."""
    own = {file.name: gzip.compress(file.read_bytes(), mtime=0) for file in (_HERE / "assets").iterdir()}
    vendored = {file.stem: file.read_bytes() for file in (_HERE / "vendor").glob("*/*.gz")}
    return {name: _asset(name, compressed) for name, compressed in (own | vendored).items()}


def address(name: str) -> str:
    """Return where a page finds the asset of this name; `KeyError` where there is none."""
    return f"{PREFIX}/{assets()[name].digest}/{name}"


def _asset(name: str, compressed: bytes) -> Asset:
    return Asset(compressed, _MEDIA_TYPES[Path(name).suffix], hashlib.sha256(compressed).hexdigest()[:16])
