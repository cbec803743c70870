"""The payments service is killed while it consumes payer events, and still applies each of them once."""

import random
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from nats.js.errors import NotFoundError

from apps.payments.models import Payer
from contracts.streams import STREAMS, USER_EVENTS
from kit.messaging.broker import Broker
from kit.messaging.streams import provision
from kit.runtime.failpoints import AFTER_COMMIT, BEFORE_COMMIT
from tests.payments.conftest import Own
from tests.support import service_processes
from tests.support.payments_harness import ForReal, UserEvent, event_id, order, user_event
from tests.support.polling import eventually
from tests.support.service_processes import connect

started = partial(service_processes.run_service, "payments")

USERS = 120
CONSUMERS = {"user.created": "payments-open_payer", "user.updated": "payments-change_payer"} | {
    "user.deleted": "payments-close_payer"
}


def happened() -> list[UserEvent]:
    """Return what became of many users, in order."""
    return [
        user_event(user, version, state)
        for number, user in enumerate(uuid4() for _ in range(USERS))
        for version, state in enumerate(("active", "disabled", ("active", "deleted")[number % 2]), start=1)
    ]


@pytest.mark.parametrize("point", [BEFORE_COMMIT, AFTER_COMMIT])
async def test_events_are_taken_in_once_though_the_service_dies_over_them_and_they_come_in_no_order(
    tmp_path: Path, own: Own, point: str
) -> None:
    events = happened()
    coming = events * 2  # the stream itself may hold one twice: a relay that died, after its duplicate window
    random.shuffle(coming)
    environment = {**own.environment, "FAILPOINTS": str(tmp_path)}
    armed = tmp_path / f"payments.{point}"
    async with connect(own.nats.url) as broker:
        await provision(broker.jetstream, STREAMS)
        client = own.client(broker)
        await client.tell(*coming[: len(coming) // 2])
        for deaths in range(2):
            armed.touch()
            async with started(tmp_path, environment) as payments:
                assert await payments.wait_exit() == -9, payments.text
            assert not armed.exists()
            await client.tell(*coming[len(coming) // 2 + deaths :: 2])
        async with started(tmp_path, environment) as payments:
            await eventually(lambda: _all_acked(broker), describe=lambda: payments.text)
            await _taken_in_once(client, events)
            closed, active = events[-1].aggregate_id, events[0].aggregate_id
            orders = [order(user_id=user) for user in (closed, active)]
            await client.send(*orders)
            assert [(await client.recorded(each.id)).reason for each in orders] == ["payer-closed", None]
            # Given again long after, by a consumer that was lost and begins anew: nothing changes.
            for name in CONSUMERS.values():
                await broker.jetstream.delete_consumer(USER_EVENTS.name, name)
            await payments.wait_for_log("consumer recreated")
            await eventually(lambda: _all_acked(broker), describe=lambda: payments.text)
            await _taken_in_once(client, events)
            assert "Traceback" not in payments.text


async def _taken_in_once(client: ForReal, events: list[UserEvent]) -> None:
    last = {payer.id: (payer.version, payer.state) for payer in map(Payer.from_event, events)}
    async with client.sql() as connection:
        payers = await connection.fetch("SELECT id, version, state FROM payers WHERE id = ANY($1)", list(last))
        marks = await connection.fetch(
            "SELECT consumer, message_id FROM inbox WHERE message_id = ANY($1)", [event_id(event) for event in events]
        )
    assert {row["id"]: (row["version"], row["state"]) for row in payers} == last
    expected = sorted((CONSUMERS[event.subject], event_id(event)) for event in events)
    assert sorted((row["consumer"], row["message_id"]) for row in marks) == expected


async def _all_acked(broker: Broker) -> bool:
    for name in CONSUMERS.values():
        try:
            info = await broker.jetstream.consumer_info(USER_EVENTS.name, name)
        except NotFoundError:
            return False
        if info.num_pending or info.num_ack_pending:
            return False
    return True
