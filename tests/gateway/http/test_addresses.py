"""The key by which limits count an address."""

import pytest

from apps.gateway.http.addresses import address_key, address_of


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:0db8:0000:0001:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", "unknown"),
        ("no:address", "no:address"),
    ],
)
def test_ipv6_is_counted_by_its_network(address: str, key: str) -> None:
    assert address_key(address) == key


def test_connection_without_a_client_has_an_address() -> None:
    assert address_of({"type": "http", "client": None}) == "unknown"
    assert address_of({"type": "http", "client": ("192.0.2.1", 40000)}) == "192.0.2.1"
