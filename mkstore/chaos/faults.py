"""Every fault that is injected into a running store, each with a name."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from nats.js.errors import NotFoundError

from contracts.payments import CreatePayment
from contracts.streams import DEAD_LETTERS, KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS
from mkstore.chaos.network import Mode
from mkstore.chaos.proxied import START, STOP
from mkstore.chaos.sessions import REVOCATION_TIME
from mkstore.chaos.store import PROCESSES, SERVICE_NAMES, NotRecovered, Store, eventually
from mkstore.chaos.temporary_store import Kind
from mkstore.services import SERVICES
from mkstore.stack.servers.nats import MAX_PAYLOAD

Inject = Callable[[Store], Awaitable[None]]

OUTAGE_DURATION = 60.0
"""Seconds for which a service is stopped, while the load continues at `OUTAGE_LOAD`."""
PAUSE_DURATION = 10.0
"""Seconds for which a process is paused (SIGSTOP)."""
FROZEN_DURATION = 150.0
"""Seconds for which payments is paused: longer than the duplicate window of its streams, which is two minutes."""
BROKEN_DURATION = 5.0
"""Seconds for which a link, a stream or a database is broken."""
HALF_OPEN_DURATION = 20.0
"""Seconds for which a link is half open: longer than clients and servers need to notice that, 6 s."""
_REACHED_TIMEOUT = 60.0
_GIVEN_UP_TIMEOUT = 180.0
_UPDATE_INTERVAL = 0.1

FAILPOINTS = (
    "gateway.before-publish",
    "gateway.half-a-batch",
    "gateway.after-publish",
    "gateway.after-batch",
    "gateway.after-atomic-batch",
    "payments.before-commit",
    "payments.after-commit",
    "payments.before-ack",
    "payments.after-ack",
    "payments.before-publish",
    "payments.half-a-batch",
    "payments.after-publish",
    "payments.after-removal",
    "payments.before-purge",
    "payments.after-purge",
    "users.before-commit",
    "users.after-commit",
    "users.before-publish",
    "users.after-publish",
    "users.after-removal",
)
DEAD_LETTER_FAILPOINTS = ("payments.before-dead-letter", "payments.after-dead-letter")
"""Reached when a message is dead-lettered."""
REDELIVERED_FAILPOINTS = ("payments.half-handled",)
"""Reached when a batch is redelivered after a crash, since its payments are then recorded one at a time."""
OVERSIZED_EVENT = """
INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, body, occurred_at, request_id, traceparent)
VALUES ($1, 'payment.created', $2, 1, $3, now(), '', '')
"""
TOGETHER = (("payments", "nats"), ("nats", "postgres"), ("gateway", "payments"), ("users", "postgres"))
LINKS = (
    *(f"{spec.name}-nats" for spec in SERVICES),
    *(f"{spec.name}-postgres" for spec in SERVICES if spec.database is not None),
)

REUSED_KEYS = 300
"""Newest idempotency keys that are used again: less than the store remembers."""


@dataclass(frozen=True)
class Load:
    """Concurrent payers, the minimum of payments per round, and a `rate` limit in payments per second (0: none).

    `reused_keys` is the number of newest idempotency keys that are used again during the fault, else `REUSED_KEYS`.
    """

    payers: int
    payments: int
    rate: float = 0.0
    reused_keys: int = REUSED_KEYS


PACED_RATE = 200.0
"""Payments per second that leave the machine idle time."""
OUTAGE_LOAD = Load(payers=64, payments=12_000, rate=PACED_RATE)
FROZEN_LOAD = Load(payers=32, payments=20_000, rate=PACED_RATE, reused_keys=20_000)  # payments, paused, purges none
PACED_LOAD = Load(payers=32, payments=1_500, rate=PACED_RATE)


@dataclass(frozen=True)
class Fault:
    """A named fault; `inject` returns when the fault has ended, while the store may still be recovering."""

    name: str
    inject: Inject
    on: Kind = Kind.PLAIN
    """The kind of store that it needs."""
    dead_letters: int = 0
    """Number of dead letters that it leaves."""
    load: Load | None = None
    """The load during the fault; None for the load of the run."""
    kills: tuple[str, ...] = ()
    """Names of the processes that it ends."""
    revoked_within: float = REVOCATION_TIME
    """Seconds after the end of a session in which every gateway must refuse its tokens."""


def _signals(number: signal.Signals, *names: str, load: Load | None = None) -> Fault:
    async def inject(store: Store) -> None:
        for name in names:
            store.send(name, number)

    action = "kill -9" if number is signal.SIGKILL else number.name
    targets = "of everything" if names == PROCESSES else " and ".join(names)
    suffix = f", {load.rate:g} payments/s" if load else ""
    return Fault(f"{action} {targets}{suffix}", inject, kills=names, load=load)


def kills_one_worker(service: str) -> Inject:
    """Kill the first of the processes of a service."""

    async def inject(store: Store) -> None:
        store.send_to_worker(service, signal.SIGKILL)

    return inject


async def pause(store: Store, name: str, duration: float = PAUSE_DURATION) -> None:
    """Stop a process for `duration` seconds (SIGSTOP), and let it go on."""
    store.send(name, signal.SIGSTOP)
    try:
        await asyncio.sleep(duration)
    finally:
        store.send(name, signal.SIGCONT)


def _pauses(name: str, duration: float = PAUSE_DURATION) -> Inject:
    async def inject(store: Store) -> None:
        await pause(store, name, duration)

    return inject


def _dies_at(point: str, *, dead_lettered: bool = False, redelivered: bool = False) -> Fault:
    async def inject(store: Store) -> None:
        file = store.failpoint(point)
        if redelivered:
            store.send(point.partition(".")[0], signal.SIGKILL)
        if dead_lettered:
            await _publish_invalid_command(store)

        async def reached() -> bool:
            return not file.exists()

        if not await eventually(reached, timeout=_REACHED_TIMEOUT):
            raise NotRecovered(f"the failpoint {point} was never reached")

    return Fault(f"dies at {point}", inject, kills=(point.partition(".")[0],), dead_letters=int(dead_lettered))


def _breaks(link: str, mode: Mode) -> Inject:
    async def inject(store: Store) -> None:
        await store.control(link, mode)
        try:
            await asyncio.sleep(HALF_OPEN_DURATION if mode is Mode.HALF_OPEN else BROKEN_DURATION)
        finally:
            await store.control(link, Mode.OPEN)

    return inject


def _stops(service: str) -> Inject:
    async def inject(store: Store) -> None:
        await store.control(service, STOP)
        try:
            await asyncio.sleep(OUTAGE_DURATION)
        finally:
            await store.control(service, START)

    return inject


async def _fills_the_streams(store: Store) -> None:
    async with store.jetstream() as jetstream:
        configs = [
            (await jetstream.stream_info(each.name)).config for each in (PAYMENT_COMMANDS, KEYED_PAYMENT_COMMANDS)
        ]
        full = [config.evolve(max_bytes=1) for config in configs]
        try:
            for _ in range(round(BROKEN_DURATION / _UPDATE_INTERVAL)):
                for config in full:
                    await jetstream.update_stream(config)  # `mkstore up` restores the limit whenever it checks it
                await asyncio.sleep(_UPDATE_INTERVAL)
        finally:
            for config in configs:
                await jetstream.update_stream(config)


async def _publish_invalid_command(store: Store) -> None:
    async with store.jetstream() as jetstream:
        await jetstream.publish(CreatePayment.address_of(uuid4()), b'{"amount": "poison"}')


async def _locks_the_database(store: Store) -> None:
    async with store.database("postgres") as connection:
        try:
            await connection.execute("ALTER DATABASE payments_db ALLOW_CONNECTIONS false")
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'payments_db'"
            )
            await asyncio.sleep(BROKEN_DURATION)
        finally:
            await connection.execute("ALTER DATABASE payments_db ALLOW_CONNECTIONS true")


async def _poisons(store: Store) -> None:
    """Publish a command that kills every process which handles it, until it is dead-lettered."""
    command = CreatePayment(
        id=uuid4(), user_id=uuid4(), amount=1, currency="EUR", metadata={}, created_at=datetime.now(UTC)
    )
    poison = store.failpoint(f"payments.poison.{command.id}")
    try:
        async with store.jetstream() as jetstream:
            headers = {"content-type": "application/json"}
            await jetstream.publish(command.address, command.model_dump_json().encode(), headers=headers)

            async def is_given_up() -> bool:
                try:
                    return bool(await jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{command.address}"))
                except NotFoundError:
                    return False

            if not await eventually(is_given_up, timeout=_GIVEN_UP_TIMEOUT):
                raise NotRecovered("a command that kills its process was not given up")
    finally:
        poison.unlink()


async def _refuses_an_event(store: Store) -> None:
    """Let the relay of payments find an event that is larger than NATS accepts; discard it once it is listed."""
    async with store.database("payments_db") as connection:
        await connection.execute(OVERSIZED_EVENT, uuid4(), uuid4(), b"{}".ljust(MAX_PAYLOAD + 1))

        async def is_refused() -> bool:
            return bool(await connection.fetchval("SELECT count(*) FROM refused_events"))

        if not await eventually(is_refused, timeout=BROKEN_DURATION):
            raise NotRecovered("the relay has not given up an event that NATS refuses")
        await connection.execute("DELETE FROM refused_events")


def every_fault() -> list[Fault]:
    """Return every fault; consecutive faults hit different processes where possible."""
    faults = [_signals(signal.SIGKILL, name) for name in PROCESSES]
    faults += [_signals(signal.SIGKILL, name, load=PACED_LOAD) for name in PROCESSES]
    faults += [Fault(f"{name} paused for {PAUSE_DURATION:g} s", _pauses(name)) for name in PROCESSES]
    # On SIGTERM PostgreSQL waits until its clients disconnect; SIGINT is its fast shutdown.
    faults += [_signals(signal.SIGTERM, name) for name in PROCESSES if name != "postgres"]
    faults += [_signals(signal.SIGINT, "postgres")]
    faults += [_signals(signal.SIGKILL, *names) for names in (*TOGETHER, PROCESSES)]
    faults += [_dies_at(point) for point in sorted(FAILPOINTS, key=lambda point: point.partition(".")[2])]
    faults += [_dies_at(point, dead_lettered=True) for point in DEAD_LETTER_FAILPOINTS]
    faults += [_dies_at(point, redelivered=True) for point in REDELIVERED_FAILPOINTS]
    faults += [
        Fault("the streams of commands are full", _fills_the_streams),
        Fault("PostgreSQL refuses connections to payments_db", _locks_the_database),
        Fault("NATS refuses an event", _refuses_an_event),
        Fault("a command kills its process", _poisons, kills=("payments",), dead_letters=1, load=PACED_LOAD),
    ]
    faults += [
        Fault(f"{link} {mode}", _breaks(link, mode), on=Kind.PROXIED)
        for mode in (Mode.CUT, Mode.DELAYED, Mode.HALF_OPEN)
        for link in LINKS
    ]
    faults += [
        Fault(f"kill -9 one of two {name}", kills_one_worker(name), on=Kind.TWO_WORKERS) for name in SERVICE_NAMES
    ]
    faults += [
        Fault(f"payments paused for {FROZEN_DURATION:g} s", _pauses("payments", FROZEN_DURATION), load=FROZEN_LOAD)
    ]
    faults += [
        Fault(f"payments stopped for {OUTAGE_DURATION:g} s", _stops("payments"), on=Kind.PROXIED, load=OUTAGE_LOAD)
    ]
    return faults
