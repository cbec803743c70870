"""Everything that is done to a running store, each under a name."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import nats
from nats.js import JetStreamContext

from contracts.streams import PAYMENT_COMMANDS
from mkstore.chaos.network import Mode
from mkstore.chaos.proxied import AWAY, BACK
from mkstore.chaos.store import PARTS, SERVICES, Kind, NotWhole, Store, eventually

Strike = Callable[[Store], Awaitable[None]]

AWAY_SECONDS = 60.0
"""A service is not there for so long, while people go on at `AWAY_LOAD`."""
HELD_SECONDS = 10.0
"""A process is stopped (SIGSTOP) for so long."""
BROKEN_SECONDS = 5.0
"""A link, a stream or a database is broken for so long."""
SILENT_SECONDS = 20.0
"""A link is half open for so long: longer than it takes to find that out."""
_REACHED_SECONDS = 60.0
_AGAIN = 0.1

FAILPOINTS = (
    "gateway.before-publish",
    "gateway.after-publish",
    "payments.before-commit",
    "payments.after-commit",
    "payments.before-ack",
    "payments.after-ack",
    "payments.before-publish",
    "payments.half-a-batch",
    "payments.after-publish",
    "payments.after-removal",
    "users.before-commit",
    "users.after-commit",
    "users.before-publish",
    "users.after-publish",
    "users.after-removal",
)
POISONED_FAILPOINTS = ("payments.before-dead-letter", "payments.after-dead-letter")
"""Reached by a message that is put away."""
TOGETHER = (("payments", "nats"), ("nats", "postgres"), ("gateway", "payments"), ("users", "postgres"))
LINKS = ("gateway-nats", "users-nats", "payments-nats", "users-postgres", "payments-postgres")


@dataclass(frozen=True)
class Load:
    """How many pay at once, and how many payments a round has at least; a `rate` (per second) bounds them."""

    payers: int
    payments: int
    rate: float = 0.0


RATE = 200.0
"""Payments per second of people who do not take all that the machine can do."""
AWAY_LOAD = Load(payers=64, payments=12_000, rate=RATE)
RATED_LOAD = Load(payers=32, payments=1_500, rate=RATE)


@dataclass(frozen=True)
class Fault:
    """Something that is done to a store; `strike` returns when it is over, and the store may still be recovering."""

    name: str
    strike: Strike
    on: Kind = Kind.PLAIN
    """The kind of store that it needs."""
    poisons: int = 0
    """How many dead letters it leaves."""
    load: Load | None = None
    """The load that it is struck under, where that matters."""
    kills: tuple[str, ...] = ()
    """The parts that end by it."""


def _killing(number: signal.Signals, *parts: str, load: Load | None = None) -> Fault:
    async def strike(store: Store) -> None:
        for part in parts:
            store.send(part, number)

    how = "kill -9" if number is signal.SIGKILL else number.name
    whom = "of everything" if parts == PARTS else " and ".join(parts)
    under = f", {load.rate:g} payments/s" if load else ""
    return Fault(f"{how} {whom}{under}", strike, kills=parts, load=load)


def _kills_one_of_two(part: str) -> Strike:
    async def strike(store: Store) -> None:
        store.kill_worker(part)

    return strike


def _holds(part: str) -> Strike:
    async def strike(store: Store) -> None:
        store.send(part, signal.SIGSTOP)
        try:
            await asyncio.sleep(HELD_SECONDS)
        finally:
            store.send(part, signal.SIGCONT)

    return strike


def _dying(point: str, *, poisoned: bool = False) -> Fault:
    async def strike(store: Store) -> None:
        file = store.failpoint(point)
        if poisoned:
            await _poison(store)

        async def reached() -> bool:
            return not file.exists()

        if not await eventually(reached, within=_REACHED_SECONDS):
            raise NotWhole(f"{point} was never reached")

    return Fault(f"dies at {point}", strike, kills=(point.partition(".")[0],), poisons=int(poisoned))


def _breaks(link: str, mode: Mode) -> Strike:
    async def strike(store: Store) -> None:
        await store.tell(link, mode)
        try:
            await asyncio.sleep(SILENT_SECONDS if mode is Mode.HALF_OPEN else BROKEN_SECONDS)
        finally:
            await store.tell(link, Mode.OPEN)

    return strike


def _leaves(part: str) -> Strike:
    async def strike(store: Store) -> None:
        await store.tell(part, AWAY)
        try:
            await asyncio.sleep(AWAY_SECONDS)
        finally:
            await store.tell(part, BACK)

    return strike


async def _fills_the_stream(store: Store) -> None:
    async def limit(jetstream: JetStreamContext) -> None:
        config = (await jetstream.stream_info(PAYMENT_COMMANDS.name)).config
        whole = config.max_bytes
        config.max_bytes = 1
        try:
            for _ in range(round(BROKEN_SECONDS / _AGAIN)):
                await jetstream.update_stream(config)  # the services mend it whenever they see it
                await asyncio.sleep(_AGAIN)
        finally:
            config.max_bytes = whole
            await jetstream.update_stream(config)

    await _as_operator(store, limit)


async def _poison(store: Store) -> None:
    async def send(jetstream: JetStreamContext) -> None:
        await jetstream.publish(PAYMENT_COMMANDS.subjects[0].replace("*", str(uuid4())), b'{"amount": "poison"}')

    await _as_operator(store, send)


async def _as_operator(store: Store, work: Callable[[JetStreamContext], Awaitable[None]]) -> None:
    client = await nats.connect(store.record["nats"]["admin_url"])
    try:
        await work(client.jetstream())
    finally:
        await client.close()


async def _locks_the_database(store: Store) -> None:
    url = urlsplit(store.record["postgres"]["url"])
    connection = await asyncpg.connect(urlunsplit(url._replace(path="/postgres")))
    try:
        await connection.execute("ALTER DATABASE payments_db ALLOW_CONNECTIONS false")
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'payments_db'")
        await asyncio.sleep(BROKEN_SECONDS)
    finally:
        await connection.execute("ALTER DATABASE payments_db ALLOW_CONNECTIONS true")
        await connection.close()


def every_fault() -> list[Fault]:
    """Return all of them; the same part is not struck twice in a row where that can be helped."""
    faults = [_killing(signal.SIGKILL, part) for part in PARTS]
    faults += [_killing(signal.SIGKILL, part, load=RATED_LOAD) for part in PARTS]
    faults += [Fault(f"{part} stopped for {HELD_SECONDS:g} s", _holds(part)) for part in PARTS]
    # PostgreSQL waits for its clients to leave when it gets a SIGTERM, and its operators send SIGINT.
    faults += [_killing(signal.SIGTERM, part) for part in PARTS if part != "postgres"]
    faults += [_killing(signal.SIGINT, "postgres")]
    faults += [_killing(signal.SIGKILL, *parts) for parts in (*TOGETHER, PARTS)]
    faults += [_dying(point) for point in sorted(FAILPOINTS, key=lambda point: point.partition(".")[2])]
    faults += [_dying(point, poisoned=True) for point in POISONED_FAILPOINTS]
    faults += [
        Fault("the stream of commands is full", _fills_the_stream),
        Fault("PostgreSQL refuses connections to payments_db", _locks_the_database),
    ]
    faults += [
        Fault(f"{link} {mode}", _breaks(link, mode), on=Kind.STAGED)
        for mode in (Mode.CUT, Mode.DELAYED, Mode.HALF_OPEN)
        for link in LINKS
    ]
    faults += [Fault(f"kill -9 one of two {part}", _kills_one_of_two(part), on=Kind.DOUBLED) for part in SERVICES]
    faults += [Fault(f"payments away for {AWAY_SECONDS:g} s", _leaves("payments"), on=Kind.STAGED, load=AWAY_LOAD)]
    return faults
