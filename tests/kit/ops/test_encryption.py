"""The warning of production about connections without TLS."""

import secrets
from pathlib import Path

import pytest

from kit.errors import HealthWarning
from kit.ops import encryption
from kit.runtime.settings import DatabaseSettings, load
from tests.support.certificates import new_certificates

PASSWORD = secrets.token_hex(16)


class Shop(DatabaseSettings):
    db_database: str = "shop"


async def warning(**values: str) -> str:
    """Return what the check of production says; empty if it passes."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"APP_ENV": "production", "DB_PASSWORD": PASSWORD, **values}.items():
            environment.setenv(name, value)
        (check,) = encryption.checks(load(Shop)).values()
    try:
        await check()
    except HealthWarning as error:
        return str(error)
    return ""


async def test_each_server_without_tls_is_named_with_the_repair() -> None:
    found = await warning(
        NATS_URL=f"nats://u:{PASSWORD}@nats-1:4222,nats://u:{PASSWORD}@nats-2:4222", DB_HOST="postgres"
    )
    assert found == (
        "Connections to NATS at nats-1, nats-2 need no TLS: set NATS_CA. "
        "Connections to PostgreSQL at postgres need no TLS: set DB_SSLMODE to verify-full."
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_loopback_needs_no_tls(host: str) -> None:
    assert not await warning(NATS_URL=f"nats://u:{PASSWORD}@{host}:4222", DB_HOST=host.strip("[]"))


async def test_encrypted_servers_are_no_reason_for_a_warning(tmp_path: Path) -> None:
    authority = str(new_certificates(tmp_path / "certs") / "ca.crt")
    login = f"u:{PASSWORD}@nats:4222"
    to_database = {"DB_HOST": "postgres", "DB_SSLMODE": "verify-full", "DB_SSLROOTCERT": authority}
    assert not await warning(NATS_URL=f"tls://{login}", **to_database)
    assert not await warning(NATS_URL=f"nats://{login}", NATS_CA=authority, **to_database)


def test_development_has_no_such_check() -> None:
    assert encryption.checks(Shop()) == {}
