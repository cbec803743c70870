"""`mkstore doctor`: whether the servers and the databases are such that the store keeps its promises."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from mkstore.cli.support import HomeOption, JsonOption, run_record, show
from mkstore.stack.state_dir import DEFAULT_STATE_DIR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kit.messaging.broker import Broker
    from kit.ops.health import Check

_CONNECT_SECONDS = 5.0
_OUTBOX_SECONDS = 10.0


class Where(NamedTuple):
    """The servers to look at; no replicas are known of a running `mkstore up`, which makes one."""

    nats_url: str
    monitor_url: str
    databases: Mapping[str, str]
    """The address of each service's database, by the service's name."""
    replicas: int


def doctor(home: HomeOption = None, json: JsonOption = False) -> None:
    """Look whether the store can keep what it promises; what is wrong is said with its repair, and exits with 1."""
    from kit.runtime.logging import configure_logging  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    configure_logging("CRITICAL", "console")  # what is wrong stands in the table
    rows = asyncio.run(_examine(_where(home, os.environ)))
    if not json:
        rows = [{**row, "reason": row["reason"] or ""} for row in rows]
    show("what the promises rest on", ["check", "status", "reason"], rows, as_json=json)
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(1)


def _where(home: Path | None, environ: Mapping[str, str]) -> Where:
    """Return the servers that the environment names, or those of a running `mkstore up`."""
    from mkstore.services import SERVICES  # noqa: PLC0415 - likewise
    from mkstore.stack.service_process import DatabaseLogin  # noqa: PLC0415 - likewise

    owned = {spec.name: spec.database for spec in SERVICES if spec.database is not None}
    if home is None and environ.get("NATS_URL"):
        login = DatabaseLogin(
            environ.get("DB_HOST") or "127.0.0.1",
            environ.get("DB_PORT") or "5432",
            environ.get("DB_USER") or "postgres",
            environ.get("DB_PASSWORD", ""),
        )
        databases = {service: login.url_of(name) for service, name in owned.items()}
        replicas = int(environ.get("STREAM_REPLICAS") or 1)
        return Where(environ["NATS_URL"], environ.get("NATS_MONITOR_URL", ""), databases, replicas)
    record = run_record(home or DEFAULT_STATE_DIR)
    maintenance = str(record["postgres"]["url"]).rpartition("/")[0]
    return Where(
        str(record["nats"]["admin_url"]),
        str(record["nats"].get("monitor_url") or ""),
        {service: f"{maintenance}/{name}" for service, name in owned.items()},
        int(environ.get("STREAM_REPLICAS") or 1),
    )


async def _examine(where: Where) -> list[dict[str, Any]]:
    from kit.ops.health import Health  # noqa: PLC0415 - likewise

    async with _checks(where) as checks:
        report = await Health(checks).report()
    return [{"check": name, **found} for name, found in report["checks"].items()]


@asynccontextmanager
async def _checks(where: Where) -> "AsyncIterator[dict[str, Check]]":
    """Connect to everything that can be connected to, and yield what is to be looked at, by name."""
    from sqlalchemy import make_url  # noqa: PLC0415 - likewise
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

    from kit import database  # noqa: PLC0415
    from kit.ops import backlog  # noqa: PLC0415
    from kit.ops.durability import Durability  # noqa: PLC0415
    from kit.ops.schema import check_schema  # noqa: PLC0415
    from mkstore import contract_check  # noqa: PLC0415
    from mkstore.services import SERVICES  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(_connected(where))
        checks: dict[str, Check] = {"nats": partial(_answers, broker)}
        pools = {}
        for service, address in where.databases.items():
            pool = create_async_engine(make_url(address).set(drivername="postgresql+asyncpg"))
            stack.push_async_callback(pool.dispose)
            pools[service] = pool
        # Whoever asks wants to know: without sync it is a failure here whatever APP_ENV says.
        durability = Durability(
            broker,
            where.monitor_url,
            replicas=where.replicas,
            production=True,
            database_time=partial(database.server_time, next(iter(pools.values()))),
        )
        checks |= durability.checks()
        checks["database-clock"] = _asked(durability.check_database_clock)
        checks |= _of_streams(broker, where.replicas)
        for spec in SERVICES:
            if spec.name in pools and spec.migrations is not None:
                pool, folder = pools[spec.name], spec.migrations.parent / "migrations"
                checks[f"{spec.name} schema"] = _asked(partial(check_schema, pool, folder))
                checks[f"{spec.name} outbox"] = _asked(partial(backlog.check_outbox, pool, _OUTBOX_SECONDS))
        checks["dead letters"] = partial(backlog.check_dead_letters, broker)
        checks |= await stack.enter_async_context(contract_check.checks(broker, [spec.name for spec in SERVICES]))
        yield checks


def _asked(check: "Check") -> "Check":
    """Say in a sentence what a database answers that cannot be asked."""
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - likewise

    from kit.database import is_unavailable  # noqa: PLC0415

    async def ask() -> None:
        try:
            await check()
        except (DBAPIError, OSError) as error:
            if is_unavailable(error):
                raise RuntimeError("PostgreSQL does not answer: start it, or set DB_HOST to where it is.") from error
            reason = str(getattr(error, "orig", error)).rpartition(">: ")[2]
            raise RuntimeError(f"PostgreSQL refuses ({reason}): set DB_USER, DB_PASSWORD, or migrate.") from error

    return ask


def _of_streams(broker: "Broker", replicas: int) -> "dict[str, Check]":
    from contracts.streams import STREAMS  # noqa: PLC0415 - likewise
    from kit.messaging import streams  # noqa: PLC0415

    async def check_stream(name: str) -> None:
        await _answers(broker)
        await streams.check(broker.jetstream, [stream for stream in STREAMS if stream.name == name], replicas)

    async def check_consumer(stream: str, durable: str) -> None:
        await _answers(broker)
        await streams.check_consumer(broker.jetstream, stream, durable)

    found: dict[str, Check] = {f"stream {stream.name}": partial(check_stream, stream.name) for stream in STREAMS}
    return found | {f"consumer {durable}": partial(check_consumer, stream, durable) for stream, durable in consumers()}


def consumers() -> list[tuple[str, str]]:
    """Return the stream and the name of each durable consumer of the services, from the services' own routers."""
    from apps.payments import commands, events  # noqa: PLC0415 - likewise
    from kit.messaging.broker import durables  # noqa: PLC0415

    found = durables([*commands.router.subscribers, *events.router.subscribers])
    return [(subscriber.stream.name, durable) for subscriber, durable in found]


@asynccontextmanager
async def _connected(where: Where) -> "AsyncIterator[Broker]":
    from kit.messaging.broker import Broker  # noqa: PLC0415 - likewise

    broker = Broker(where.nats_url, name="mkstore doctor", replicas=where.replicas)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await broker.connect()
    except (OSError, TimeoutError):
        pass  # each check that needs it says so
    try:
        yield broker
    finally:
        await broker.stop()


async def _answers(broker: "Broker") -> None:
    if not broker.is_connected():
        raise RuntimeError("NATS does not answer: start it, or set NATS_URL to where it is.")
    await broker.client.flush(timeout=1)
