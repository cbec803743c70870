"""The faults of a cluster: what must cost no payment, and be over within ten seconds."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from nats.errors import Error as NatsError

from contracts.streams import KEYED_PAYMENT_COMMANDS
from mkstore.chaos.faults import PAUSE_DURATION, Fault, Inject, Load, kills_one_worker, pause
from mkstore.chaos.network import Mode
from mkstore.chaos.store import SERVICE_NAMES, NotRecovered, Store, eventually
from mkstore.chaos.temporary_store import Kind
from mkstore.stack.promotion import PromotionRefused, promote
from mkstore.stack.servers.nats_cluster import NAMES

BACK_WITHIN = 10.0
"""Seconds without an accepted payment, at most: nats-server elects a new leader after 4 to 9 s."""
CLUSTER_LOAD = Load(payers=16, payments=600, rate=50.0)
"""So little that the processors have time for elections: a cluster of one machine shares them with everything."""
CUT_DURATION = 15.0
"""Seconds for which a route is cut, or a disk is full: longer than a client may wait for the end of it."""
_ANSWER_TIMEOUT = 30.0
_CHUNK = b"x" * (1 << 16)
_STORE = "nats-1/store"

Choose = Callable[[Store], Awaitable[str]]
"""Returns the name of the process that a fault hits."""


async def leader(store: Store) -> str:
    """Return the name of the NATS server that leads the stream of keyed commands."""
    name = ""

    async def known() -> bool:
        nonlocal name
        with suppress(NatsError, OSError):
            async with store.jetstream() as jetstream:
                cluster = (await jetstream.stream_info(KEYED_PAYMENT_COMMANDS.name)).cluster
            name = (cluster.leader or "") if cluster else ""
        return bool(name)

    if not await eventually(known, timeout=_ANSWER_TIMEOUT):
        raise NotRecovered("the stream of keyed commands has no leader")
    return next(node for node in NAMES if name.startswith(node))


async def follower(store: Store) -> str:
    """Return the name of a NATS server that does not lead the stream of keyed commands."""
    leads = await leader(store)
    return next(node for node in NAMES if node != leads)


async def primary(store: Store) -> str:
    """Return the name of the PostgreSQL that accepts writes."""
    return next(str(node["name"]) for node in store.record["postgres"]["nodes"] if node["primary"])


async def standby(store: Store) -> str:
    """Return the name of the PostgreSQL that follows."""
    return next(str(node["name"]) for node in store.record["postgres"]["nodes"] if not node["primary"])


def _sends(choose: Choose, number: signal.Signals = signal.SIGKILL) -> Inject:
    async def inject(store: Store) -> None:
        store.send(await choose(store), number)

    return inject


def _pauses(choose: Choose) -> Inject:
    async def inject(store: Store) -> None:
        await pause(store, await choose(store))

    return inject


def _separation(name: str, mode: Mode, *routes: tuple[str, str]) -> Fault:
    """Return a fault that breaks routes in both directions: each of two servers connects to the other.

    A gateway gets a revocation when it has left a server that is cut off, so that takes longer than the usual 2 s.
    """

    async def inject(store: Store) -> None:
        links = [f"{one}-{other}" for pair in routes for one, other in (pair, pair[::-1])]
        try:
            for link in links:
                await store.control(link, mode)
            await asyncio.sleep(CUT_DURATION)
        finally:
            for link in links:
                await store.control(link, Mode.OPEN)

    return Fault(name, inject, on=Kind.CLUSTER_LINKS, revoked_within=BACK_WITHIN)


async def _promotes(store: Store) -> None:
    former = await primary(store)
    store.killed[former] = int(store.part(former)["pid"])
    await _promote(store)


async def _promotes_after_a_loss(store: Store) -> None:
    store.send(await primary(store), signal.SIGKILL)
    await _promote(store)


async def _promote(store: Store) -> None:
    try:
        await promote(store.record["postgres"], lambda _: None)
    except PromotionRefused as refusal:
        raise NotRecovered(str(refusal)) from refusal


async def _fills_the_disk(store: Store) -> None:
    """Fill the small file system, which only the first server sees, and free it again."""
    pid = store.part(NAMES[0])["pid"]
    (folder,) = Path(f"/proc/{pid}/root{store.home}").glob(f"*/{_STORE}")  # noqa: ASYNC240 - three folders
    filler = folder / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        with suppress(OSError):
            while True:
                os.write(file, _CHUNK)
        await asyncio.sleep(CUT_DURATION)
        if int(store.part(NAMES[0])["pid"]) != pid:
            raise NotRecovered("the server with the full disk was restarted before there was room")
        store.killed[NAMES[0]] = pid
    finally:
        os.close(file)
        filler.unlink(missing_ok=True)


def every_cluster_fault() -> list[Fault]:
    """Return the faults of a cluster."""
    one, two, three = NAMES
    return [
        *(Fault(f"kill -9 one of two {name}", kills_one_worker(name), on=Kind.CLUSTER) for name in SERVICE_NAMES),
        Fault("kill -9 the leader", _sends(leader), on=Kind.CLUSTER),
        Fault("kill -9 a follower", _sends(follower), on=Kind.CLUSTER),
        Fault("SIGTERM the leader", _sends(leader, signal.SIGTERM), on=Kind.CLUSTER),
        Fault(f"the leader paused for {PAUSE_DURATION:g} s", _pauses(leader), on=Kind.CLUSTER),
        Fault(f"a follower paused for {PAUSE_DURATION:g} s", _pauses(follower), on=Kind.CLUSTER),
        Fault("kill -9 the primary", _sends(primary), on=Kind.CLUSTER),
        Fault("kill -9 the standby", _sends(standby), on=Kind.CLUSTER),
        Fault(f"the standby paused for {PAUSE_DURATION:g} s", _pauses(standby), on=Kind.CLUSTER),
        Fault("the standby is promoted", _promotes, on=Kind.CLUSTER),
        Fault("kill -9 the primary, and the standby is promoted", _promotes_after_a_loss, on=Kind.CLUSTER),
        _separation(f"route {one} to {two} cut", Mode.CUT, (one, two)),
        _separation(f"route {one} to {two} half-open", Mode.HALF_OPEN, (one, two)),
        _separation(f"{one} cut off from the others", Mode.CUT, (one, two), (one, three)),
        Fault(f"the disk of {one} is full", _fills_the_disk, on=Kind.CLUSTER_SMALL_DISK),
    ]
