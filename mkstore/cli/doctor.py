"""`mkstore doctor`: checks servers and databases, and prints a fix for each failure."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from contracts.shards import Shards
from mkstore.cli.support import (
    HomeOption,
    JsonOption,
    chosen_record,
    database_addresses,
    environment,
    nats_server,
    shards_of,
    show,
)
from mkstore.stack.servers import is_reachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kit.messaging.broker import Broker
    from kit.ops.health import Check
    from kit.runtime.client_security import ClientSecurity

_CONNECT_TIMEOUT = 5.0
_OUTBOX_LAG_WARNING = 10.0
"""Seconds that an event may wait in an outbox."""


class Targets(NamedTuple):
    """The servers to check, and the required number of replicas per stream."""

    nats_url: str
    monitor_url: str
    databases: Mapping[str, str]
    """Address of each database, by the name of its service."""
    replicas: int
    security: "ClientSecurity"
    """TLS and login of the connection to NATS."""
    shards: Shards


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check servers and databases; print a fix for each failure; exit 1 if any check failed."""
    from kit.runtime.logging import configure_logging  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    configure_logging("CRITICAL", "console")  # the table has every error
    rows = asyncio.run(_report(_targets(home, environment())))
    if not as_json:
        rows = [{**row, "reason": row["reason"] or ""} for row in rows]
    show("checks", ["check", "status", "reason"], rows, as_json=as_json)
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(1)


def _targets(home: Path | None, environ: Mapping[str, str]) -> Targets:
    """Return the servers that the environment names, or those of a running `mkstore up`."""
    _, security = nats_server(home)
    shards, databases, record = shards_of(home), database_addresses(home), chosen_record(home)
    if record is None:
        replicas = int(environ.get("STREAM_REPLICAS") or 1)
        monitor_url = environ.get("NATS_MONITOR_URL", "")
        return Targets(environ["NATS_URL"], monitor_url, databases, replicas, security, shards)
    return Targets(
        str(record["nats"]["admin_url"]),
        str(record["nats"].get("monitor_url") or ""),
        databases,
        int(environ.get("STREAM_REPLICAS") or len(record["nats"].get("nodes") or [record["nats"]])),
        security,
        shards,
    )


async def _report(targets: Targets) -> list[dict[str, Any]]:
    from kit.ops.health import Health  # noqa: PLC0415 - same reason

    async with _checks(targets) as checks:
        report = await Health(checks).report()
    return [{"check": name, **result} for name, result in report["checks"].items()]


@asynccontextmanager
async def _checks(targets: Targets) -> "AsyncIterator[dict[str, Check]]":
    """Connect to NATS and the databases as far as possible, and yield every check by name."""
    from sqlalchemy import make_url  # noqa: PLC0415 - same reason

    from kit import database  # noqa: PLC0415
    from kit.ops import backlog  # noqa: PLC0415
    from kit.ops.durability import Durability  # noqa: PLC0415
    from kit.ops.schema import check_schema  # noqa: PLC0415
    from mkstore import contract_check, subject_check  # noqa: PLC0415
    from mkstore.services import SERVICES, of_shards  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        broker, check_nats = await stack.enter_async_context(_connected(targets))
        checks: dict[str, Check] = {"nats": check_nats}
        pools = {}
        for service, address in targets.databases.items():
            pool = database.engine_at(make_url(address).set(drivername="postgresql+asyncpg"))
            stack.push_async_callback(pool.dispose)
            pools[service] = pool
        # As in production: a NATS that does not sync is a failure, whatever APP_ENV says.
        durability = Durability(
            broker,
            targets.monitor_url,
            replicas=targets.replicas,
            production=True,
            database_time=partial(database.server_time, next(iter(pools.values()))),
        )
        checks |= durability.checks()
        checks["database-clock"] = _with_fix(durability.check_database_clock)
        checks |= _stream_checks(broker, check_nats, targets.replicas, targets.shards)
        services = [spec.name for spec in SERVICES]
        checks |= subject_check.checks(broker, services, shards=targets.shards)
        for spec in of_shards(SERVICES, targets.shards):
            if spec.name in pools and spec.migrations is not None:
                pool, folder = pools[spec.name], spec.migrations.parent / "migrations"
                checks[f"{spec.name} schema"] = _with_fix(partial(check_schema, pool, folder))
                checks[f"{spec.name} outbox"] = _with_fix(partial(backlog.check_outbox, pool, _OUTBOX_LAG_WARNING))
        checks["dead letters"] = partial(backlog.check_dead_letters, broker)
        checks |= await stack.enter_async_context(contract_check.checks(broker, services))
        yield checks


def _with_fix(check: "Check") -> "Check":
    """Return `check`, with the errors of a database that cannot be queried replaced by a sentence with the fix."""
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - same reason

    from kit.database import is_unavailable  # noqa: PLC0415
    from kit.runtime.tls import TlsFailed  # noqa: PLC0415

    async def checked() -> None:
        try:
            await check()
        except TlsFailed:
            raise
        except (DBAPIError, OSError) as error:
            if is_unavailable(error):
                raise RuntimeError(
                    "PostgreSQL does not answer: start it, or set DB_HOST and DB_PORT to its address."
                ) from error
            reason = str(getattr(error, "orig", error)).rpartition(">: ")[2]
            raise RuntimeError(
                f"PostgreSQL refuses ({reason}): correct DB_USER and DB_PASSWORD, or run the migrations."
            ) from error

    return checked


def _stream_checks(broker: "Broker", check_nats: "Check", replicas: int, shards: Shards) -> "dict[str, Check]":
    from contracts.consumers import Durable, durables  # noqa: PLC0415 - same reason
    from contracts.streams import Stream, streams_of  # noqa: PLC0415
    from kit.messaging import streams  # noqa: PLC0415

    async def check_stream(stream: Stream) -> None:
        await check_nats()
        await streams.check(broker.jetstream, [stream], replicas)

    async def check_consumer(durable: Durable) -> None:
        await check_nats()
        await streams.check_consumer(broker.jetstream, durable.stream.name, streams.consumer_config(durable))

    checks: dict[str, Check] = {
        f"stream {stream.name}": partial(check_stream, stream) for stream in streams_of(shards.all)
    }
    return checks | {f"consumer {durable.name}": partial(check_consumer, durable) for durable in durables(shards)}


@asynccontextmanager
async def _connected(targets: Targets) -> "AsyncIterator[tuple[Broker, Check]]":
    """Connect to NATS if it can be reached, and yield the connection and its check."""
    from kit.errors import CannotStart  # noqa: PLC0415 - same reason
    from kit.messaging.broker import Broker  # noqa: PLC0415

    broker = Broker(targets.nats_url, name="mkstore doctor", security=targets.security, replicas=targets.replicas)
    reason = "NATS does not answer: start it, or set NATS_URL to its address."
    if await is_reachable(targets.nats_url):  # the broker would retry
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await broker.connect()
        except CannotStart as error:
            reason = str(error)
        except (OSError, TimeoutError):  # each check that needs NATS fails with a sentence
            pass

    async def check() -> None:
        if not broker.is_connected():
            raise RuntimeError(reason)
        await broker.client.flush(timeout=1)

    try:
        yield broker, check
    finally:
        await broker.stop()
