"""The payments service as a process: how it starts, how it refuses to, and what becomes of payments when parts die."""

import asyncio
import secrets
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from nats.errors import Error as NatsError

from contracts.payments import CreatePayment, GetPayments, PaymentCreated
from contracts.streams import DEAD, DEAD_LETTERS, PAYMENT_COMMANDS, PAYMENT_EVENTS, STREAMS
from kit import database
from kit.messaging.broker import Broker
from kit.messaging.streams import provision
from tests.payments.conftest import Own, settings_for
from tests.support import service_processes
from tests.support.payments_harness import ForReal, all_events, order
from tests.support.polling import eventually
from tests.support.service_processes import ServiceProcess, connect

started = partial(service_processes.run_service, "payments")


async def test_an_older_schema_stops_the_start_with_a_sentence(tmp_path: Path, own: Own) -> None:
    name = f"payments_{secrets.token_hex(4)}"
    await asyncio.to_thread(own.postgres.create_databases, name)
    async with started(tmp_path, {**own.environment, "DB_DATABASE": name}) as payments:
        assert await payments.wait_exit() not in {0, None}
        assert "The database is at revision none" in payments.text
        assert "alembic -c apps/payments/alembic.ini upgrade head" in payments.text
        assert "Traceback" not in payments.text


async def test_it_starts_before_its_servers_do(tmp_path: Path, own: Own) -> None:
    own.postgres.kill()
    own.nats.kill()
    async with started(tmp_path, own.environment) as payments:
        await payments.wait_for_log("waiting for the database")
        own.postgres.start()
        report = await eventually(payments.health, describe=lambda: payments.text)
        assert {name: check["status"] for name, check in report["checks"].items()} == {
            "nats": "failed",
            "database": "ok",
            "outbox": "failed",
            "nats-sync": "warning",
            "nats-clock": "ok",
            "database-clock": "ok",
            "outbox-lag": "ok",
            "dead-letters": "warning",
        }
        own.nats.start()
        await payments.wait_ready()
        async with connect(own.nats.url) as broker:
            client, command = own.client(broker), order()
            await client.send(command)
            await client.recorded(command.id)
            await eventually(lambda: client.told(command.id))
        payments.process.send_signal(signal.SIGTERM)
        await payments.wait_exit()
        assert "Traceback" not in payments.text


async def test_readiness_says_what_is_missing(tmp_path: Path, own: Own) -> None:
    async with started(tmp_path, own.environment) as payments, connect(own.nats.url) as broker:
        await payments.wait_ready()

        async def failed() -> dict[str, str]:
            checks = (await payments.health()).get("checks", {})
            return {name: check["reason"] for name, check in checks.items() if check["status"] == "failed"}

        own.postgres.kill()
        await eventually(lambda: _is({"database"}, failed))
        own.postgres.start()
        await payments.wait_ready()
        await broker.jetstream.delete_stream(DEAD_LETTERS.name)
        assert set(await failed()) in (set(), {"nats"})  # it is made again soon
        own.nats.kill()
        await eventually(lambda: _is({"nats"}, failed))
        own.nats.start()
        await payments.wait_ready()


COUNT = 500
Break = Callable[[Own, ServiceProcess], Awaitable[None]]


async def kill_postgres(own: Own, _: ServiceProcess) -> None:
    own.postgres.kill()
    await asyncio.sleep(0.3)  # so long it is away
    own.postgres.start()


async def kill_nats(own: Own, _: ServiceProcess) -> None:
    own.nats.kill()
    await asyncio.sleep(0.3)
    own.nats.start()


async def kill_service(_: Own, payments: ServiceProcess) -> None:
    await payments.kill()


@pytest.mark.parametrize("breaks", [kill_postgres, kill_nats, kill_service])
async def test_every_payment_is_recorded_once_and_told_of_whatever_is_killed(
    tmp_path: Path, own: Own, breaks: Break
) -> None:
    orders = [order(amount=number + 1) for number in range(COUNT)]
    async with connect(own.nats.url) as broker:
        await provision(broker.jetstream, STREAMS)
        client = own.client(broker)
        for start in range(0, COUNT, 100):
            await client.send(*orders[start : start + 100])
        # The second one is there from the beginning in no case, and takes over in the one where the first is killed.
        async with started(tmp_path, own.environment) as first:
            await eventually(lambda: _at_most_wait(broker, COUNT - 50), describe=lambda: first.text)
            assert not await _at_most_wait(broker, 0), "all were recorded before anything broke"
            await breaks(own, first)
            async with started(tmp_path, own.environment) as second:
                await eventually(lambda: _at_most_wait(broker, 0), describe=lambda: first.text + second.text)
                await eventually(lambda: _told_of(broker, orders), describe=lambda: first.text + second.text)
                found = await eventually(lambda: _look(client, orders))
        assert {view.id: view.amount for view in found} == {command.id: command.amount for command in orders}
        assert {view.status for view in found} == {"created"}
        assert Counter(await _rows(own, orders)) == Counter(command.id for command in orders)
        ids: dict[UUID, set[str]] = {}
        for sent in await all_events(broker):
            ids.setdefault(sent.event.payment.id, set()).add(sent.headers["Nats-Msg-Id"])
        assert all(len(ids[command.id]) == 1 for command in orders)


async def _at_most_wait(broker: Broker, count: int) -> bool:
    with suppress(NatsError):
        return (await broker.jetstream.stream_info(PAYMENT_COMMANDS.name)).state.messages <= count
    return False


async def _told_of(broker: Broker, orders: Sequence[CreatePayment]) -> bool:
    state = (await broker.jetstream.stream_info(PAYMENT_EVENTS.name)).state
    if state.messages < len(orders):
        return False
    told = {sent.event.payment.id for sent in await all_events(broker) if isinstance(sent.event, PaymentCreated)}
    return told >= {command.id for command in orders}


async def _look(client: ForReal, orders: Sequence[CreatePayment]) -> Any:
    return (await client.ask(GetPayments(ids=tuple(command.id for command in orders)))).payments


async def _rows(own: Own, orders: Sequence[CreatePayment]) -> list[UUID]:
    pool = database.create_engine(settings_for(own.environment, own.nats.url))
    async with pool.connect() as connection:
        rows = await connection.exec_driver_sql("SELECT id FROM payments")
        wanted = {command.id for command in orders}
        found = [row.id for row in rows if row.id in wanted]
    await pool.dispose()
    return found


async def _is(expected: set[str], failed: Callable[[], Awaitable[dict[str, str]]]) -> bool:
    return set(await failed()) == expected


async def test_it_is_measured_whatever_is_away_and_whichever_worker_is_asked(tmp_path: Path, own: Own) -> None:
    async with started(tmp_path, own.environment, "--workers", "2") as payments, connect(own.nats.url) as broker:
        await payments.wait_ready()
        before = (await payments.metrics())["mkstore_dead_letters"]
        await broker.jetstream.publish(f"{DEAD}payments.create.x", b"x")
        for _ in range(6):
            found = await payments.metrics()
            assert (found["mkstore_outbox_rows"], found["mkstore_outbox_oldest_seconds"]) == (0, 0)
            assert (found["mkstore_outbox_leaders"], found["mkstore_dead_letters"]) == (1, before + 1)
            assert found["mkstore_outbox_leads"] in {0, 1}
        report = await payments.health()
        assert (report["status"], report["checks"]["dead-letters"]["status"]) == ("ok", "warning")
        assert "`mkstore dead-letters list`" in report["checks"]["dead-letters"]["reason"]
        own.nats.kill()
        own.postgres.kill()
        began = time.monotonic()
        await eventually(lambda: _measures_only(payments, "mkstore_outbox_leads"))
        assert time.monotonic() - began < 4
        own.postgres.start()
        own.nats.start()
        await eventually(lambda: _measures(payments, "mkstore_outbox_rows", "mkstore_dead_letters"))


async def _measures_only(payments: ServiceProcess, name: str) -> bool:
    return set(await payments.metrics()) == {name}


async def _measures(payments: ServiceProcess, *names: str) -> bool:
    return set(names) <= set(await payments.metrics())
