"""Logins of NATS that stand in files: the seed of an nkey, and a .creds file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kit.messaging.broker import Broker
from kit.runtime.client_security import ClientSecurity, LoginRefused
from mkstore.stack.servers import Login, NatsServer
from tests.support.nats_logins import JwtServer, new_seed, write_seed
from tests.support.polling import eventually

_DEADLINE = 30


@asynccontextmanager
async def connected(server: NatsServer, creds: str) -> AsyncIterator[Broker]:
    """Yield a broker that connects with the login in a file."""
    broker = Broker(server.address, name="test", security=ClientSecurity(creds=creds))
    try:
        await asyncio.wait_for(broker.start(), _DEADLINE)
        yield broker
    finally:
        await broker.stop()


async def test_seed_of_an_nkey_is_a_login(tmp_path: Path) -> None:
    """The server has the public key only; what the seed may do stands beside it, as with a password."""
    key, seed = new_seed()
    rights = {"publish": {"allow": ["allowed"]}, "subscribe": {"allow": ["_INBOX.>"]}}
    login = Login("users", permissions=rights, nkey=key.public)
    file = write_seed(tmp_path / "users.nk", seed)
    with NatsServer(tmp_path / "nats", others=[login]) as server:
        async with connected(server, file) as broker:
            await broker.client.publish("allowed")
            await broker.client.publish("foreign")
            await eventually(lambda: broker.denied_since("foreign", 1))
            assert not broker.denied_since("allowed", 1)


async def test_creds_file_is_a_login(tmp_path: Path) -> None:
    with JwtServer(tmp_path / "nats") as server:
        async with connected(server, server.write_creds(tmp_path / "users.creds")) as broker:
            await broker.check()


async def test_unknown_seed_is_refused_in_one_sentence(tmp_path: Path) -> None:
    file = write_seed(tmp_path / "users.nk", new_seed()[1])
    with NatsServer(tmp_path / "nats") as server, pytest.raises(LoginRefused) as refused:
        async with connected(server, file):
            pass
    assert str(refused.value) == "NATS refuses the login: set NATS_CREDS to a file of its user."
