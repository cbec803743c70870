"""Payers have the state of the users service's last event, in any order and with any number of repetitions."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from enum import Enum, auto
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.payments.events import upsert_payers
from apps.payments.models import Payer, latest
from apps.payments.repository import Payments
from apps.payments.settings import Settings
from kit import database
from kit.batching import bisect_failures
from kit.connection_pool import ConnectionPool
from kit.errors import OutcomeUnknown, Unavailable
from kit.inbox import InboxKey
from kit.messaging.batches import Received
from kit.runtime.tracing import Trace
from mkstore.testing.fakes.payments import FakePayments, PaymentsData
from tests.payments.conftest import settings_for
from tests.support.payments_harness import UserEvent, event_id, user_event

States = dict[UUID, tuple[int, str]]
"""Version and state of each payer."""


class Outcome(Enum):
    """What happens to the process that handles a batch."""

    HANDLED = auto()
    DIES_BEFORE_COMMIT = auto()
    DIES_AFTER_COMMIT = auto()


class Batch(NamedTuple):
    """Events that are delivered together."""

    events: tuple[UserEvent, ...]
    outcome: Outcome


class History(NamedTuple):
    """The events of some users in order, and the batches in which they are delivered."""

    events: list[UserEvent]
    batches: list[Batch]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw a history; its batches have the events shuffled, repeated, and again after a death."""
    events: list[UserEvent] = []
    for _ in range(draw(st.integers(1, 4))):
        user_id = uuid4()
        states = ["active", *draw(st.lists(st.sampled_from(["active", "disabled"]), max_size=4))]
        states += draw(st.sampled_from([[], ["deleted"]]))
        events += [user_event(user_id, version, state) for version, state in enumerate(states, start=1)]
    repeated = draw(st.lists(st.sampled_from(events), max_size=2 * len(events)))
    waiting = draw(st.permutations([*events, *repeated]))
    batches = []
    while waiting:
        size = draw(st.integers(1, len(waiting)))
        outcome = draw(st.sampled_from([Outcome.HANDLED, *Outcome]))
        batches.append(Batch(tuple(waiting[:size]), outcome))
        waiting = waiting[size:]
        if outcome is not Outcome.HANDLED:
            waiting = draw(st.permutations([*waiting, *batches[-1].events]))
        if len(batches) > 12:
            batches.append(Batch(tuple(waiting), Outcome.HANDLED))
            break
    return History(events, batches)


def final_states(events: Sequence[UserEvent]) -> States:
    """Return the states after events that are in order."""
    return states_of(map(Payer.from_event, events))


def states_of(payers: Any) -> States:
    return {payer.id: (payer.version, payer.state) for payer in payers}


@given(history=histories())
@settings(max_examples=100, deadline=None)
def test_the_rule_gives_one_result_in_any_order(history: History) -> None:
    payers: dict[UUID, Payer] = {}
    delivered: list[UserEvent] = []
    for batch in history.batches:
        delivered += batch.events
        for payer in latest(map(Payer.from_event, batch.events)):
            if payer.supersedes(payers.get(payer.id)):
                payers[payer.id] = payer
        expected = final_states(sorted(delivered, key=lambda event: event.aggregate_version))
        assert states_of(payers.values()) == expected
    assert states_of(payers.values()) == final_states(history.events)


async def upsert_all(open_payments: Callable[[], Any], events: Sequence[UserEvent]) -> list[Exception | None]:
    """Handle events as one batch of the consumer; return for each event its error, or None."""
    received = [Received(event, Trace(), InboxKey("tests", event_id(event))) for event in events]
    return await bisect_failures(lambda batch: upsert_payers(batch, open_payments()), received)


async def deliver(batches: Sequence[Batch], open_payments: Callable[[Outcome], Any]) -> set[str]:
    """Handle each batch with a transaction that has its outcome; return the ids of all events."""
    for batch in batches:
        try:
            failures = await upsert_all(partial(open_payments, batch.outcome), batch.events)
        except (Unavailable, OutcomeUnknown):
            assert batch.outcome is not Outcome.HANDLED
        else:
            assert failures == [None] * len(batch.events)
    return {event_id(event) for batch in batches for event in batch.events}


class DyingPayments(Payments):
    """A transaction whose process dies before or after the commit."""

    def __init__(self, pool: ConnectionPool, outcome: Outcome) -> None:
        super().__init__(pool)
        self._outcome = outcome

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._outcome is Outcome.DIES_BEFORE_COMMIT:
            await super().__aexit__(Unavailable, Unavailable("process"), None)
            raise Unavailable("process")
        await super().__aexit__(kind, error, at)
        if self._outcome is Outcome.DIES_AFTER_COMMIT:
            raise OutcomeUnknown("process")


class StoredPayers(Payments):
    """Reads what is stored."""

    async def states(self, user_ids: Iterable[UUID]) -> States:
        """Return the version and the state of each payer among `user_ids`."""
        query = "SELECT id, version, state FROM payers WHERE id = ANY($1)"
        return states_of(Payer(**row) for row in await self._connection.fetch(query, list(user_ids)))

    async def keys(self, ids: Collection[str]) -> list[str]:
        """Return the ids of handled messages among `ids`, sorted."""
        rows = await self._connection.fetch("SELECT message_id FROM inbox WHERE message_id = ANY($1)", list(ids))
        return sorted(row["message_id"] for row in rows)


class DyingFake(FakePayments):
    """The same in memory."""

    def __init__(self, table: PaymentsData, outcome: Outcome) -> None:
        super().__init__(table)
        self._outcome = outcome

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._outcome is Outcome.DIES_BEFORE_COMMIT:
            raise Unavailable("process")
        await super().__aexit__(kind, error, at)
        if self._outcome is Outcome.DIES_AFTER_COMMIT:
            raise OutcomeUnknown("process")


@given(history=histories())
@settings(max_examples=50, deadline=None)
def test_the_fake_gives_one_result_in_any_order(history: History) -> None:
    table = PaymentsData()
    ids = asyncio.run(deliver(history.batches, partial(DyingFake, table)))
    assert states_of(table.payers.values()) == final_states(history.events)
    assert {key.message_id for key in table.inbox} == ids


@given(history=histories())
@settings(max_examples=25, deadline=None)
def test_the_database_gives_one_result_in_any_order(payments_database: dict[str, str], history: History) -> None:
    async def deliver_and_compare(pool: ConnectionPool) -> None:
        ids = await deliver(history.batches, partial(DyingPayments, pool))
        expected = final_states(history.events)
        async with StoredPayers(pool) as stored:
            assert await stored.states(expected) == expected
            assert await stored.keys(ids) == sorted(ids)
        async with Payments(pool) as payments:
            closed = {user for user, (_, state) in expected.items() if state != "active"}
            assert await payments.closed_payers({*expected, uuid4()}) == closed

    asyncio.run(_with_pool(settings_for(payments_database, "nats://127.0.0.1:1"), deliver_and_compare))


async def _with_pool(settings: Settings, work: Callable[[ConnectionPool], Awaitable[None]]) -> None:
    pool = database.create_pool(settings)
    await work(pool)
    await pool.close()


async def test_replicas_with_the_same_events_do_not_deadlock(payments_database: dict[str, str]) -> None:
    users = [uuid4() for _ in range(30)]
    events = [user_event(user, version, state) for user in users for version, state in ((1, "active"), (2, "disabled"))]

    async def handle_in_replicas(pool: ConnectionPool) -> None:
        orders = [events, events[::-1], events[::2] + events[1::2], events[30:] + events[:30]]
        outcomes = await asyncio.gather(*(upsert_all(partial(Payments, pool), order) for order in orders * 3))
        assert all(outcome == [None] * len(events) for outcome in outcomes)
        async with Payments(pool) as payments:
            assert await payments.closed_payers(users) == set(users)

    await _with_pool(settings_for(payments_database, "nats://127.0.0.1:1", db_pool_size=12), handle_in_replicas)
