"""Who may pay is what the users service last told, in whatever order and however often that comes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from apps.payments.events import upsert_payers
from apps.payments.models import Payer, latest
from apps.payments.repository import Payments
from apps.payments.settings import Settings
from kit import database
from kit.batching import bisect_failures
from kit.errors import OutcomeUnknown, Unavailable
from kit.inbox import InboxKey
from kit.messaging.batches import Received
from kit.runtime.tracing import Trace
from tests.payments.conftest import settings_for
from tests.support.payments_fakes import FakePayments, Table
from tests.support.payments_harness import UserEvent, event_id, user_event


class Group(NamedTuple):
    """Events that come together, and what becomes of the process that gets them."""

    events: tuple[UserEvent, ...]
    fate: str


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[UserEvent], list[Group]]:
    """Draw what happened to some users, in order, and how it comes: shuffled, repeated, cut off."""
    happened: list[UserEvent] = []
    for _ in range(draw(st.integers(1, 4))):
        user_id = uuid4()
        states = ["active", *draw(st.lists(st.sampled_from(["active", "disabled"]), max_size=4))]
        states += draw(st.sampled_from([[], ["deleted"]]))
        happened += [user_event(user_id, version, state) for version, state in enumerate(states, start=1)]
    repeated = draw(st.lists(st.sampled_from(happened), max_size=2 * len(happened)))
    coming = draw(st.permutations([*happened, *repeated]))
    groups = []
    while coming:
        size = draw(st.integers(1, len(coming)))
        fate = draw(st.sampled_from(["handled", "handled", "dies before the commit", "dies after the commit"]))
        groups.append(Group(tuple(coming[:size]), fate))
        coming = coming[size:]
        if groups[-1].fate != "handled":  # it comes again, later, among others
            coming = draw(st.permutations([*coming, *groups[-1].events]))
        if len(groups) > 12:
            groups.append(Group(tuple(coming), "handled"))
            break
    return happened, groups


def in_order(happened: Sequence[UserEvent]) -> dict[UUID, tuple[int, str]]:
    """Return what is true of each user in the end."""
    return {payer.id: (payer.version, payer.state) for payer in map(Payer.from_event, happened)}


@given(said=deliveries())
@settings(max_examples=300, deadline=None)
def test_the_rule_gives_one_result_in_any_order(said: tuple[list[UserEvent], list[Group]]) -> None:
    happened, groups = said
    known: dict[UUID, Payer] = {}
    came: list[UserEvent] = []
    for group in groups:
        came += group.events
        for payer in latest(map(Payer.from_event, group.events)):
            if payer.supersedes(known.get(payer.id)):
                known[payer.id] = payer
        # At every moment it is the last of what has come so far.
        so_far = in_order(sorted(came, key=lambda event: event.aggregate_version))
        assert {payer.id: (payer.version, payer.state) for payer in known.values()} == so_far
    assert so_far == in_order(happened)


async def upsert_all(open_payments: Callable[[], Any], events: Sequence[UserEvent]) -> list[Exception | None]:
    """Handle events as one batch of the consumer; return for each the error that it failed with."""
    received = [Received(event, Trace(), InboxKey("tests", event_id(event))) for event in events]
    return await bisect_failures(lambda batch: upsert_payers(batch, open_payments()), received)


async def deliver(groups: Sequence[Group], open_payments: Callable[[str], Any]) -> set[str]:
    """Hand out the groups, each to a process with its fate; return the ids of what was handed out."""
    for group in groups:
        try:
            failures = await upsert_all(partial(open_payments, group.fate), group.events)
        except (Unavailable, OutcomeUnknown):
            assert group.fate != "handled"
        else:
            assert failures == [None] * len(group.events)
    return {event_id(event) for group in groups for event in group.events}


class Dying(Payments):
    """A transaction of a process that dies around its commit."""

    def __init__(self, pool: AsyncEngine, fate: str) -> None:
        super().__init__(pool)
        self._fate = fate

    async def _commit(self) -> None:
        if self._fate == "dies before the commit":
            raise Unavailable("process")
        await super()._commit()
        if self._fate == "dies after the commit":
            raise OutcomeUnknown("process")


class DyingFake(FakePayments):
    """The same in memory."""

    def __init__(self, table: Table, fate: str) -> None:
        super().__init__(table)
        self._fate = fate

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._fate == "dies before the commit":
            raise Unavailable("process")
        await super().__aexit__(kind, error, at)
        if self._fate == "dies after the commit":
            raise OutcomeUnknown("process")


@given(said=deliveries())
@settings(max_examples=100, deadline=None)
def test_the_fake_gives_one_result_in_any_order(said: tuple[list[UserEvent], list[Group]]) -> None:
    happened, groups = said
    table = Table()
    ids = asyncio.run(deliver(groups, lambda fate: DyingFake(table, fate)))
    assert {payer.id: (payer.version, payer.state) for payer in table.payers.values()} == in_order(happened)
    assert {mark.message_id for mark in table.marks} == ids


@given(said=deliveries())
@settings(max_examples=25, deadline=None)
def test_the_database_gives_one_result_in_any_order(
    payments_database: dict[str, str], said: tuple[list[UserEvent], list[Group]]
) -> None:
    happened, groups = said

    async def deliver_for_real(pool: AsyncEngine) -> None:
        ids = await deliver(groups, lambda fate: Dying(pool, fate))
        users = {event.aggregate_id for event in happened}
        async with pool.connect() as connection:
            rows = await connection.execute(
                text("SELECT id, version, state FROM payers WHERE id = ANY(:ids)"), {"ids": list(users)}
            )
            assert {row.id: (row.version, row.state) for row in rows} == in_order(happened)
            marks = await connection.execute(
                text("SELECT message_id FROM inbox WHERE message_id = ANY(:ids)"), {"ids": list(ids)}
            )
            assert sorted(marks.scalars()) == sorted(ids)
        async with Payments(pool) as payments:
            closed = {user for user, (_, state) in in_order(happened).items() if state != "active"}
            assert await payments.closed_payers(users | {uuid4()}) == closed

    asyncio.run(_with_pool(settings_for(payments_database, "nats://127.0.0.1:1"), deliver_for_real))


async def _with_pool(settings: Settings, work: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    pool = database.create_engine(settings)
    await work(pool)
    await pool.dispose()


async def test_replicas_with_the_same_events_do_not_deadlock(
    payments_database: dict[str, str],
) -> None:
    users = [uuid4() for _ in range(30)]
    happened = [
        user_event(user, version, state) for user in users for version, state in ((1, "active"), (2, "disabled"))
    ]
    told = happened

    async def tell(pool: AsyncEngine) -> None:
        commands = [told, told[::-1], told[::2] + told[1::2], told[30:] + told[:30]]
        outcomes = await asyncio.gather(*(upsert_all(partial(Payments, pool), order) for order in commands * 3))
        assert all(outcome == [None] * len(told) for outcome in outcomes)
        async with Payments(pool) as payments:
            assert await payments.closed_payers(users) == set(users)

    await _with_pool(settings_for(payments_database, "nats://127.0.0.1:1", db_pool_size=12), tell)
