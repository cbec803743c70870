"""The limits of the machine: the smallest HTTP applications, NATS and PostgreSQL alone."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from mkstore.bench.contenders.server_process import ServerProcess
from mkstore.bench.load.target import Account, Target
from mkstore.generated import ROOT
from mkstore.stack import ports
from mkstore.stack.servers import NatsServer, PostgresServer

_IN_FLIGHT = 64
_BATCHES = (50, 200)
_CONNECTIONS = 8
_BODY = b"x" * 200
_INSERT = "INSERT INTO rows VALUES ($1, $2)"
_INSERT_MANY = "INSERT INTO rows SELECT * FROM unnest($1::uuid[], $2::text[]) ON CONFLICT (id) DO NOTHING RETURNING id"
_STREAM = "LIMITS"

Once = Callable[[], Awaitable[object]]


@asynccontextmanager
async def running_app(name: str, app: str, folder: Path, users: int) -> AsyncIterator[Target]:
    """Run an application of `limit_apps` under uvicorn. Raises `ProcessFailed` if it does not start."""
    port = ports.free_port()
    argv = [sys.executable, "-m", "uvicorn", f"mkstore.bench.contenders.limit_apps:{app}", "--host", ports.LOOPBACK]
    argv += ["--port", str(port), "--no-access-log", "--loop", "uvloop", "--http", "httptools"]
    with ServerProcess(name, argv, cwd=ROOT, env=dict(os.environ), log=folder / f"{name}.log", port=port) as server:
        accounts = [Account(str(uuid4()), "") for _ in range(users)]
        if app == "raw_asgi":  # it has one response
            accounts = [Account("0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01", "")] * users
        yield Target(name, server.address, lambda: {"server": server.pid or 0}, users=accounts)


@asynccontextmanager
async def running_nats(name: str, folder: Path) -> AsyncIterator[Target]:
    """Run a nats-server that syncs every message. Raises `ProcessFailed` if it does not start."""
    with NatsServer(folder / "nats") as server:

        async def measure(seconds: int) -> Mapping[str, float]:
            return await _nats_rates(server.url, seconds)

        yield Target(name, "", lambda: {"nats": server.pid or 0}, limits=measure)


@asynccontextmanager
async def running_postgres(name: str, folder: Path) -> AsyncIterator[Target]:
    """Run a PostgreSQL. Raises `ProcessFailed` if it does not start."""
    with PostgresServer(folder / "postgres") as server:

        async def measure(seconds: int) -> Mapping[str, float]:
            return await _postgres_rates(server.url, seconds)

        yield Target(name, "", lambda: {"postgres": server.pid or 0}, limits=measure)


async def _nats_rates(url: str, seconds: int) -> dict[str, float]:
    """Return requests per second and messages per second, each measured for a part of `seconds`."""
    each = seconds / (3 + len(_BATCHES))
    client, responder = await nats.connect(url), await nats.connect(url)

    async def reply(message: Msg) -> None:
        await message.respond(_BODY)

    try:
        jetstream = client.jetstream()
        await jetstream.add_stream(name=_STREAM, subjects=["limits.>"], allow_atomic=True)
        await responder.subscribe("limit", cb=reply)
        await responder.flush()
        rates = {
            "request and reply, 64 in flight": await _rate(lambda: client.request("limit", _BODY), _IN_FLIGHT, each),
            "publish synced, one at a time": await _rate(lambda: jetstream.publish("limits.x", _BODY), 1, each),
            "publish synced, 64 in flight": await _rate(lambda: jetstream.publish("limits.x", _BODY), _IN_FLIGHT, each),
        }
        for size in _BATCHES:
            batches = await _rate(partial(_publish_batch, client, size), 1, each)
            rates[f"publish synced, batches of {size}"] = batches * size
        await jetstream.delete_stream(_STREAM)
    finally:
        await responder.close()
        await client.close()
    return rates


async def _publish_batch(client: Client, size: int) -> None:
    """Publish an atomic batch (NATS ADR-50): the last message asks for the commit, and is acknowledged."""
    batch = uuid4().hex
    for number in range(1, size):
        headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
        await client.publish("limits.x", _BODY, headers=headers)
    headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(size), "Nats-Batch-Commit": "1"}
    await client.jetstream().publish("limits.x", _BODY, headers=headers)


async def _postgres_rates(url: str, seconds: int) -> dict[str, float]:
    """Return inserted rows per second, each measured for a part of `seconds`."""
    each = seconds / (1 + len(_BATCHES))
    async with asyncpg.create_pool(url, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as pool:
        await pool.execute("DROP TABLE IF EXISTS rows; CREATE TABLE rows (id uuid PRIMARY KEY, body text)")
        body = _BODY.decode()
        rates = {
            f"single inserts, {_CONNECTIONS} connections": await _rate(
                lambda: pool.execute(_INSERT, uuid4(), body), _CONNECTIONS, each
            )
        }
        for size in _BATCHES:

            def insert(size: int = size) -> Awaitable[object]:
                return pool.fetch(_INSERT_MANY, [uuid4() for _ in range(size)], [body] * size)

            rates[f"inserts of {size} rows, one connection"] = await _rate(insert, 1, each) * size
    return rates


async def _rate(once: Once, in_flight: int, seconds: float) -> float:
    """Return how many times per second `once` ends, with this number of them at the same time."""
    done = 0
    began = time.monotonic()

    async def repeat() -> None:
        nonlocal done
        while time.monotonic() - began < seconds:
            await once()
            done += 1

    await asyncio.gather(*(repeat() for _ in range(in_flight)))
    return done / (time.monotonic() - began)
