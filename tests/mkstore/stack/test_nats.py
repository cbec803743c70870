"""The embedded nats-server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from mkstore.chaos.proxied import DISK_SIZE, SMALL_FILE_SYSTEM
from mkstore.stack.servers import Login, NatsServer, ProcessFailed
from tests.support.polling import eventually


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    client = await nats_client.connect(url, connect_timeout=5, allow_reconnect=False)
    try:
        yield client
    finally:
        await client.close()


def fill(file: Path) -> None:
    """Write to a file until the disk is full."""
    with file.open("wb", buffering=0) as output, suppress(OSError):
        while True:
            output.write(b"x" * (1 << 20))


async def store(url: str, *bodies: bytes) -> None:
    async with connected(url) as client:
        stream = client.jetstream()
        await stream.add_stream(name="KEPT", subjects=["kept.>"])
        for body in bodies:
            await stream.publish("kept.it", body)


async def stored(url: str) -> bytes:
    async with connected(url) as client:
        message = await client.jetstream().get_last_msg("KEPT", "kept.it")
        return bytes(message.data)


async def test_acknowledged_message_survives_sigkill(
    nats: NatsServer,
) -> None:
    url, first = nats.url, nats.pid
    await store(url, b"1", b"2")
    assert nats.process is not None
    nats.process.kill()
    nats.process.wait()
    assert nats.ending() == "was killed by SIGKILL"
    nats.start()
    assert (nats.url, nats.pid != first) == (url, True)
    assert await stored(url) == b"2"


async def test_operator_login_sees_streams_of_the_services(nats: NatsServer) -> None:
    await store(nats.url, b"1")
    assert nats.admin_url != nats.url
    assert await stored(nats.admin_url) == b"1"


async def test_login_is_restricted_by_its_permissions(tmp_path: Path) -> None:
    guest = Login("guest", permissions={"publish": "users.>", "subscribe": "_INBOX.>"})
    with NatsServer(tmp_path, others=[guest]) as server:
        refused: asyncio.Queue[Exception] = asyncio.Queue()

        async def remember(error: Exception) -> None:
            await refused.put(error)

        client = await nats_client.connect(server.url_of(guest), error_cb=remember)
        with pytest.raises(NoRespondersError):
            await client.request("users.get_many", b"", timeout=5)
        await client.publish("payments.create.1", b"")
        error = await asyncio.wait_for(refused.get(), timeout=5)
        await client.close()
        assert "permissions violation" in str(error).lower()


def test_configuration_syncs_every_message_and_is_private(nats: NatsServer) -> None:
    file = nats.folder / "nats.conf"
    configuration = json.loads(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert configuration["jetstream"]["sync_interval"] == "always"
    assert configuration["host"] == "127.0.0.1"
    assert configuration["http"] == f"127.0.0.1:{nats.monitor_port}"


def test_graceful_stop_leaves_no_process(nats: NatsServer) -> None:
    assert nats.stop() is True
    assert nats.leftovers() == []
    assert nats.pid is None


def test_used_port_fails_with_the_log(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = NatsServer(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(ProcessFailed, match="nats ended with exit code 1") as failure:
            server.start(timeout=5)
    assert "address already in use" in failure.value.log


async def test_server_whose_disk_was_full_is_stuck_once_there_is_room(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    server.prefix = (*SMALL_FILE_SYSTEM, str(server.store), str(DISK_SIZE))
    server.start()
    try:
        filler = Path(f"/proc/{server.pid}/root{server.store}/filler")
        assert not server.is_stuck()
        async with connected(server.admin_url) as client:
            stream = client.jetstream()
            await stream.add_stream(name="FULL", subjects=["full.>"])
            fill(filler)

            async def is_refused() -> bool:
                try:
                    await stream.publish("full.it", b"x" * (1 << 19), timeout=1)
                except NatsError:
                    return True
                return False

            await eventually(is_refused)
        assert not server.is_stuck()
        await asyncio.to_thread(filler.unlink)
        assert server.is_stuck()
    finally:
        server.kill()
