"""The field `Host` of a request (RFC 9110, 7.2; RFC 9112, 3.2)."""

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv6Address

from apps.gateway.errors import InvalidHost

_HOST = re.compile(
    rb"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,255})(?::(?P<port>[0-9]{0,5}))?"
)
"""A host and a port (RFC 3986, 3.2.2): without a scope id, and without an address of a later version than 6."""
_MAX_PORT = 65_535
_MAX_KNOWN = 1024


class Hosts:
    """The values of `Host` that were well-formed: each is checked once, at most 1,024 are remembered."""

    def __init__(self) -> None:
        self.known: set[bytes | None] = set()

    def check(self, fields: Sequence[tuple[bytes, bytes]], http_version: str) -> None:
        """Remember the value of the one `Host`; in HTTP/1.0 there may be none.

        Raises `InvalidHost` if there is none otherwise, more than one, or a malformed one.
        """
        values = [value for name, value in fields if name == b"host"]
        if not values and http_version == "1.0":
            return
        if len(values) != 1 or not _is_well_formed(values[0]):
            raise InvalidHost
        if len(self.known) >= _MAX_KNOWN:
            self.known.clear()
        self.known.add(values[0])


def _is_well_formed(value: bytes) -> bool:
    match = _HOST.fullmatch(value)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        return False
    if match["ipv6"]:
        try:
            IPv6Address(match["ipv6"].decode())
        except AddressValueError:
            return False
    return True
