"""The address of a client, and the key by which limits count it."""

from functools import lru_cache
from ipaddress import IPv6Address

from starlette.types import Scope

_NETWORK_BITS = 64
"""The smallest network that a provider gives to one customer (RFC 6177): who has one address has all of its network."""


def address_of(scope: Scope) -> str:
    """Return the client's address of an ASGI connection; behind a trusted proxy, the one that the proxy names."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else "unknown"


def address_key(address: str) -> str:
    """Return the key by which every limit counts an address: IPv4 by the address, IPv6 by its /64."""
    return _network(address) if ":" in address else address


@lru_cache(maxsize=10_000)
def _network(address: str) -> str:
    """Return the /64 of an IPv6 address; of one that carries an IPv4 address (RFC 4291, 2.5.5.2), that address."""
    try:
        parsed = IPv6Address(address)
    except ValueError:  # a proxy may name anything
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    host_bits = 128 - _NETWORK_BITS
    return f"{IPv6Address(int(parsed) >> host_bits << host_bits)}/{_NETWORK_BITS}"
