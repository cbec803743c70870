"""TLS with NATS: mutual certificates, and one sentence for each reason why a connection is refused."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from kit.messaging.broker import Broker
from kit.runtime.client_security import ClientSecurity, LoginRefused, TlsRefused
from mkstore.certificates import LOOPBACK, Subject
from mkstore.stack.servers import Login, NatsServer
from tests.support.certificates import nats_client, nats_server_tls, new_certificates, replace_certificate
from tests.support.polling import eventually

_DEADLINE = 30
_SERVER = Subject("nats", LOOPBACK)

NewBroker = Callable[..., Broker]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_certificates(tmp_path / "certificates")


@pytest.fixture
def server(tmp_path: Path, folder: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats", tls=nats_server_tls(folder))
    yield server
    server.kill()


@pytest.fixture
async def new_broker(server: NatsServer) -> AsyncIterator[NewBroker]:
    async with AsyncExitStack() as stack:

        def make(security: ClientSecurity, url: str = server.url) -> Broker:
            broker = Broker(url, name="test", security=security)
            stack.push_async_callback(broker.stop)
            return broker

        yield make


async def refusal(broker: Broker) -> str:
    """Return why the broker does not start."""
    with pytest.raises(TlsRefused) as refused:
        await asyncio.wait_for(broker.start(), _DEADLINE)
    return str(refused.value)


def connections(server: NatsServer, query: str = "") -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{server.monitor_url}/connz?{query}") as response:  # noqa: S310 - of the test's own server
        found: list[dict[str, Any]] = json.load(response)["connections"]
    return found


async def test_both_sides_verify_and_encrypt(server: NatsServer, folder: Path, new_broker: NewBroker) -> None:
    await asyncio.to_thread(server.start)
    broker = new_broker(nats_client(folder))
    await broker.start()
    await broker.check()
    (connection,) = await asyncio.to_thread(connections, server)
    assert (connection["tls_version"], connection["name"]) == ("1.3", "test")


async def test_foreign_authority_of_the_server_is_refused(
    server: NatsServer, folder: Path, tmp_path: Path, new_broker: NewBroker
) -> None:
    await asyncio.to_thread(server.start)
    foreign = new_certificates(tmp_path / "foreign")
    assert await refusal(new_broker(nats_client(folder, authority=foreign))) == (
        f"The certificate of NATS at 127.0.0.1:{server.port} is not of the authority in NATS_CA: set NATS_CA to that "
        "of this server."
    )


async def test_server_of_an_unknown_authority_is_refused(server: NatsServer, new_broker: NewBroker) -> None:
    await asyncio.to_thread(server.start)
    assert await refusal(new_broker(ClientSecurity())) == (
        f"The certificate of NATS at 127.0.0.1:{server.port} is of an authority that is unknown: set NATS_CA to its "
        "certificate."
    )


async def test_expired_certificate_of_the_server_is_refused(
    server: NatsServer, folder: Path, new_broker: NewBroker
) -> None:
    replace_certificate(folder, _SERVER, expired=True)
    await asyncio.to_thread(server.start)
    assert await refusal(new_broker(nats_client(folder))) == (
        f"The certificate of NATS at 127.0.0.1:{server.port} has expired: renew it, such as by `mkstore certs "
        "--renew`, and reload the server."
    )


async def test_certificate_of_another_host_is_refused(server: NatsServer, folder: Path, new_broker: NewBroker) -> None:
    replace_certificate(folder, Subject("nats", ("nats.example",)))
    await asyncio.to_thread(server.start)
    assert await refusal(new_broker(nats_client(folder))) == (
        f"The certificate of NATS at 127.0.0.1:{server.port} has another name: set NATS_URL to a name that it has, or "
        "make one with this name, such as by `mkstore certs --names`."
    )


async def test_client_without_a_certificate_is_refused(server: NatsServer, folder: Path, new_broker: NewBroker) -> None:
    """With TLS 1.3 the server's alert arrives after the handshake, when the client sees only a lost connection."""
    await asyncio.to_thread(server.start)
    for _ in range(5):
        assert await refusal(new_broker(nats_client(folder, ""))) == (
            f"NATS at 127.0.0.1:{server.port} requires a client certificate: set NATS_CERT and NATS_KEY."
        )


@pytest.mark.parametrize("fault", ["foreign", "expired"])
async def test_invalid_certificate_of_a_client_is_refused(
    server: NatsServer, folder: Path, tmp_path: Path, new_broker: NewBroker, fault: str
) -> None:
    await asyncio.to_thread(server.start)
    if fault == "foreign":
        security = nats_client(new_certificates(tmp_path / "foreign"), authority=folder)
    else:
        replace_certificate(folder, Subject("users"), expired=True)
        security = nats_client(folder)
    assert await refusal(new_broker(security)) == (
        f"NATS at 127.0.0.1:{server.port} refuses the certificate in NATS_CERT, which has expired or is of another "
        "authority: renew it, such as by `mkstore certs --renew`."
    )


@pytest.mark.parametrize("how", ["authority", "address"])
async def test_server_without_tls_is_refused_before_the_login_is_sent(
    folder: Path, new_broker: NewBroker, how: str
) -> None:
    """nats-py would send the password unencrypted to an attacker between client and server."""
    received: list[bytes] = []

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "X", "version": "2.15.1", "auth_required": true, "max_payload": 1024}\r\n')
        received.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(pretend, "127.0.0.1", 0) as impostor:
        port = impostor.sockets[0].getsockname()[1]
        scheme = "tls" if how == "address" else "nats"
        security = ClientSecurity() if how == "address" else nats_client(folder)
        assert await refusal(new_broker(security, f"{scheme}://users:secret@127.0.0.1:{port}")) == (
            f"NATS at 127.0.0.1:{port} does not require TLS, and this client does: enable `tls` in the server's "
            "configuration, or set NATS_URL to a server with TLS."
        )
        await eventually(lambda: received)
    assert received == [b""]


async def test_one_good_server_of_several_is_enough(
    server: NatsServer, folder: Path, tmp_path: Path, new_broker: NewBroker
) -> None:
    await asyncio.to_thread(server.start)
    with NatsServer(tmp_path / "plain") as plain:
        broker = new_broker(nats_client(folder), f"{plain.url},{server.url}")
        await asyncio.wait_for(broker.start(), _DEADLINE)
        assert broker.is_connected()
        assert broker.client.connected_url is not None
        assert broker.client.connected_url.port == server.port


async def test_certificate_can_be_the_login(tmp_path: Path, folder: Path, new_broker: NewBroker) -> None:
    """With `verify_and_map` nats-server finds the user whose name is in the certificate; no password is needed."""

    class Mapped(NatsServer):
        def configuration(self) -> dict[str, object]:
            configuration = super().configuration()
            return configuration | {"tls": nats_server_tls(folder).configuration() | {"verify_and_map": True}}

    with Mapped(tmp_path / "mapped", services=Login("users", password=""), tls=nats_server_tls(folder)) as server:
        broker = new_broker(nats_client(folder, "users"), server.address)
        await asyncio.wait_for(broker.start(), _DEADLINE)
        (connection,) = await asyncio.to_thread(connections, server, "auth=1")
        assert connection["authorized_user"] == "users"
        with pytest.raises(LoginRefused):
            await new_broker(nats_client(folder, "payments"), server.address).start()
