"""The payments service is killed while it consumes events of users, and still applies each of them once."""

import random
from functools import partial
from pathlib import Path
from uuid import uuid4

from nats.js.errors import NotFoundError

from apps.payments.models import Payer
from contracts.consumers import PAYMENTS_CHANGE_PAYER, PAYMENTS_CLOSE_PAYER, PAYMENTS_OPEN_PAYER
from contracts.streams import USER_EVENTS
from kit.messaging.broker import Broker
from kit.runtime.failpoints import AFTER_COMMIT, BEFORE_COMMIT
from tests.payments.conftest import client_of
from tests.support import service_processes
from tests.support.killable_servers import KillableServers
from tests.support.payment_commands import new_command
from tests.support.payments_harness import OnServers, UserEvent, event_id, user_event
from tests.support.polling import eventually
from tests.support.provisioning import provision
from tests.support.service_processes import connect

run_payments = partial(service_processes.run_service, "payments")

USERS = 40
DURABLES = {
    each.message.subject: each.name for each in (PAYMENTS_OPEN_PAYER, PAYMENTS_CHANGE_PAYER, PAYMENTS_CLOSE_PAYER)
}


def events_of_users() -> list[UserEvent]:
    """Return the events of some users in order; the last state of every second one is deleted."""
    return [
        user_event(user, version, state)
        for number, user in enumerate(uuid4() for _ in range(USERS))
        for version, state in enumerate(("active", "disabled", ("active", "deleted")[number % 2]), start=1)
    ]


async def test_payer_events_are_applied_once_when_the_service_dies(tmp_path: Path, servers: KillableServers) -> None:
    events = events_of_users()
    deliveries = events * 2  # the stream may store an event twice, if its relay dies
    random.shuffle(deliveries)
    environment = {**servers.environment, "FAILPOINTS": str(tmp_path)}
    async with connect(servers.nats.url) as broker:
        client = client_of(servers, broker)
        for part, point in enumerate((BEFORE_COMMIT, AFTER_COMMIT)):
            armed = tmp_path / f"payments.{point}"
            armed.touch()
            await client.publish(*deliveries[part::3])
            async with run_payments(tmp_path, environment) as payments:
                assert await payments.wait_exit() == -9, payments.text
            assert not armed.exists()
        await client.publish(*deliveries[2::3])
        async with run_payments(tmp_path, environment) as payments:
            await eventually(lambda: _all_acked(broker), describe=lambda: payments.text)
            await _check_applied_once(client, events)
            closed, active = events[-1].aggregate_id, events[0].aggregate_id
            commands = [new_command(user_id=user) for user in (closed, active)]
            await client.send(*commands)
            assert [(await client.recorded(each.id)).reason for each in commands] == ["payer-closed", None]
            # A lost consumer is provisioned again and delivers all events again: nothing changes.
            for name in DURABLES.values():
                await broker.jetstream.delete_consumer(USER_EVENTS.name, name)
            provision(servers.nats.url)
            await eventually(lambda: _all_acked(broker), describe=lambda: payments.text)
            await _check_applied_once(client, events)
            assert "Traceback" not in payments.text


async def _check_applied_once(client: OnServers, events: list[UserEvent]) -> None:
    last = {payer.id: (payer.version, payer.state) for payer in map(Payer.from_event, events)}
    async with client.sql() as connection:
        payers = await connection.fetch("SELECT id, version, state FROM payers WHERE id = ANY($1)", list(last))
        inbox = await connection.fetch(
            "SELECT consumer, message_id FROM inbox WHERE message_id = ANY($1)", [event_id(event) for event in events]
        )
    assert {row["id"]: (row["version"], row["state"]) for row in payers} == last
    expected = sorted((DURABLES[event.subject], event_id(event)) for event in events)
    assert sorted((row["consumer"], row["message_id"]) for row in inbox) == expected


async def _all_acked(broker: Broker) -> bool:
    for name in DURABLES.values():
        try:
            info = await broker.jetstream.consumer_info(USER_EVENTS.name, name)
        except NotFoundError:
            return False
        if info.num_pending or info.num_ack_pending:
            return False
    return True
