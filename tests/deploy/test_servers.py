"""The configuration of NATS and PostgreSQL in containers."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import asyncpg
import nats as nats_client
import pytest

from contracts.logins import IMPORTED_API, inbox_prefix
from contracts.streams import STREAMS, Stream
from kit.messaging import streams
from mkstore.services import SERVICES
from mkstore.stack.servers import PostgresServer
from mkstore.stack.servers.nats import MAX_PAYLOAD, nats_server_program
from tests.conftest import ROOT
from tests.deploy.conftest import ConfiguredNats

PASSWORD = "for-development-only"
NAMES = [spec.name for spec in SERVICES]


def test_nats_accepts_its_configuration() -> None:
    env = {"PATH": os.defpath} | {
        f"NATS_{login.upper()}_PASSWORD": '"12e4"' for login in (*NAMES, "watcher", "operator")
    }
    command = [nats_server_program(), "-t", "-c", str(ROOT / "deploy/nats.conf")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nats_requires_passwords() -> None:
    command = [nats_server_program(), "-t", "-c", str(ROOT / "deploy/nats.conf")]
    done = subprocess.run(command, env={"PATH": os.defpath}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "NATS_OPERATOR_PASSWORD" in done.stderr


def test_nats_syncs_every_message_and_accepts_the_largest_body(configured_nats: ConfiguredNats) -> None:
    assert configured_nats.monitor("jsz")["config"]["sync_always"] is True
    assert configured_nats.monitor("varz")["max_payload"] == MAX_PAYLOAD


@pytest.mark.parametrize("service", NAMES)
async def test_service_finds_its_own_streams_and_creates_none(configured_nats: ConfiguredNats, service: str) -> None:
    client = await nats_client.connect(
        f"nats://{service}:{PASSWORD}@{configured_nats.address}",
        inbox_prefix=inbox_prefix(service),
        allow_reconnect=False,
        error_cb=ignore,
    )
    try:
        await streams.check(client.jetstream(prefix=IMPORTED_API), streams_of(service))
        with pytest.raises(TimeoutError):
            await client.jetstream(prefix=IMPORTED_API, timeout=0.3).add_stream(name="STRANGE", subjects=["strange"])
    finally:
        await client.close()


def streams_of(service: str) -> list[Stream]:
    """Return the streams in the AsyncAPI document of a service."""
    operations = json.loads((ROOT / f"asyncapi/{service}.json").read_text())["operations"].values()
    names = {operation["x-nats"].get("stream") for operation in operations}
    return [stream for stream in STREAMS if stream.name in names]


async def test_operator_may_create_any_stream(configured_nats: ConfiguredNats) -> None:
    client = await nats_client.connect(f"nats://operator:{PASSWORD}@{configured_nats.address}", allow_reconnect=False)
    try:
        stream = await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
        assert stream.config.name == "KEPT"
    finally:
        await client.close()


async def ignore(_: Exception) -> None:
    """Ignore permission errors, which the server also sends for expected refusals."""


@pytest.mark.parametrize("login", ["", "users:wrong@", "stranger:for-development-only@"])
async def test_nats_refuses_unknown_logins(configured_nats: ConfiguredNats, login: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", configured_nats.port)
    user, _, password = login.removesuffix("@").partition(":")
    greeting = json.loads((await reader.readline()).removeprefix(b"INFO "))
    assert greeting["auth_required"]
    connect = {"user": user, "pass": password, "verbose": False}
    writer.write(f"CONNECT {json.dumps(connect)}\r\nPING\r\n".encode())
    assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("name", [spec.name for spec in SERVICES if spec.database])
async def test_service_connects_to_its_own_database_only(prepared_postgres: PostgresServer, name: str) -> None:
    server = f"postgresql://{name}:{PASSWORD}@127.0.0.1:{prepared_postgres.port}"
    own = await asyncpg.connect(f"{server}/{name}_db")
    try:
        assert await own.fetchval("SELECT current_setting('is_superuser')") == "off"
        await own.execute("CREATE TABLE mine (); DROP TABLE mine")
    finally:
        await own.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(f"{server}/{'payments_db' if name == 'users' else 'users_db'}")


def test_database_script_is_executable() -> None:
    assert os.access(ROOT / "deploy/postgres/databases.sh", os.X_OK)
    assert Path(ROOT / "deploy/postgres/databases.sh").read_text().startswith("#!/bin/sh\n")
