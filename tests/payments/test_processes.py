"""The payments service as a process: how it starts, and what happens to payments when it or a server dies."""

import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from nats.errors import Error as NatsError

from contracts.consumers import PAYMENTS_CREATE_PAYMENT
from contracts.payments import PaymentCreated
from contracts.streams import DEAD, DEAD_LETTERS, PAYMENT_COMMANDS, STREAMS
from kit.messaging.broker import Broker
from kit.messaging.streams import provision
from tests.payments.conftest import client_of
from tests.support import service_processes
from tests.support.killable_servers import KillableServers
from tests.support.payments_harness import OnServers, new_command
from tests.support.polling import eventually
from tests.support.service_processes import ServiceProcess, connect

run_payments = partial(service_processes.run_service, "payments")


async def test_it_may_start_before_its_servers(tmp_path: Path, servers: KillableServers) -> None:
    servers.postgres.kill()
    servers.nats.kill()
    async with run_payments(tmp_path, servers.environment) as payments:
        await payments.wait_for_log("waiting for the database")
        servers.postgres.start()
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
        servers.nats.start()
        await payments.wait_ready()
        async with connect(servers.nats.url) as broker:
            client, command = client_of(servers, broker), new_command()
            await client.send(command)
            await client.recorded(command.id)
            await client.published_events(command.id, 1)
        payments.process.send_signal(signal.SIGTERM)
        await payments.wait_exit()
        assert "Traceback" not in payments.text


Kill = Callable[[KillableServers, ServiceProcess], Awaitable[None]]


async def kill_postgres(servers: KillableServers, _: ServiceProcess) -> None:
    servers.postgres.kill()
    servers.postgres.start()


async def kill_nats(servers: KillableServers, _: ServiceProcess) -> None:
    servers.nats.kill()
    servers.nats.start()


async def kill_service(_: KillableServers, payments: ServiceProcess) -> None:
    await payments.kill()


@pytest.mark.parametrize("kill", [kill_postgres, kill_nats, kill_service])
async def test_every_payment_is_recorded_once_whatever_is_killed(
    tmp_path: Path, servers: KillableServers, kill: Kill
) -> None:
    commands = [new_command(amount=number + 1) for number in range(200)]
    ids = {command.id for command in commands}
    async with connect(servers.nats.url) as broker:
        await provision(broker.jetstream, STREAMS)
        client = client_of(servers, broker)
        async with run_payments(tmp_path, servers.environment) as first:
            await first.wait_ready()
            await client.send(*commands[:100])
            await client.recorded(commands[99].id)
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # PostgreSQL dies with the lock
                async with client.table_locked():
                    await client.send(*commands[100:])
                    await eventually(lambda: _is_consuming(broker), describe=lambda: first.text)
                    await kill(servers, first)
            if kill is kill_service:
                async with run_payments(tmp_path, servers.environment) as second:
                    await eventually(lambda: _all_published(client, ids), describe=lambda: second.text)
            else:
                await eventually(lambda: _all_published(client, ids), describe=lambda: first.text)
        assert Counter(await _recorded_rows(client, ids)) == Counter(
            (command.id, command.amount, "created") for command in commands
        )
        event_ids: dict[UUID, set[str]] = {}
        for published in await client.all_events():
            event_ids.setdefault(published.event.aggregate_id, set()).add(published.headers["Nats-Msg-Id"])
        assert all(len(event_ids[payment_id]) == 1 for payment_id in ids)


async def _is_consuming(broker: Broker) -> bool:
    """Return whether the service has commands that it has not acknowledged."""
    info = await broker.jetstream.consumer_info(PAYMENT_COMMANDS.name, PAYMENTS_CREATE_PAYMENT.name)
    return bool(info.num_ack_pending)


async def _all_published(client: OnServers, ids: Collection[UUID]) -> bool:
    """Return whether the events of all payments are published, and no command is left."""
    with suppress(NatsError):
        if (await client.broker.jetstream.stream_info(PAYMENT_COMMANDS.name)).state.messages:
            return False
        created = {each.event.aggregate_id for each in await client.all_events() if type(each.event) is PaymentCreated}
        return created >= set(ids)
    return False


async def _recorded_rows(client: OnServers, ids: Collection[UUID]) -> list[tuple[UUID, int, str]]:
    async with client.sql() as connection:
        rows = await connection.fetch("SELECT id, amount, status FROM payments WHERE id = ANY($1)", list(ids))
    return [tuple(row) for row in rows]


async def test_health_and_metrics_of_every_worker_survive_outages(tmp_path: Path, servers: KillableServers) -> None:
    async with (
        run_payments(tmp_path, servers.environment, "--workers", "2") as payments,
        connect(servers.nats.url) as broker,
    ):
        await payments.wait_ready()
        before = (await broker.jetstream.stream_info(DEAD_LETTERS.name)).state.messages
        await broker.jetstream.publish(f"{DEAD}payments.create.x", b"x")
        expected = {
            "mkstore_outbox_rows": 0,
            "mkstore_outbox_oldest_seconds": 0,
            "mkstore_outbox_leaders": 1,
            "mkstore_dead_letters": before + 1,
        }
        await payments.wait_for_metrics(expected, workers=2)
        for _ in range(6):
            metrics = await payments.metrics()
            assert expected.items() <= metrics.items()
            assert metrics["mkstore_outbox_leads"] in {0, 1}
        report = await payments.health()
        assert (report["status"], report["checks"]["dead-letters"]["status"]) == ("ok", "warning")
        assert "`mkstore dead-letters list`" in report["checks"]["dead-letters"]["reason"]

        servers.postgres.kill()
        await eventually(lambda: _fails(payments, {"database"}))
        servers.nats.kill()
        await eventually(lambda: _has_only(payments, "mkstore_outbox_leads"))  # the only one that needs no server
        servers.postgres.start()
        await eventually(lambda: _fails(payments, {"nats"}))
        servers.nats.start()
        await payments.wait_for_metrics(expected, workers=2)
        await payments.wait_ready()
        await broker.jetstream.delete_stream(DEAD_LETTERS.name)
        assert await _failed(payments) <= {"nats"}  # the service recreates it
        await payments.wait_ready()


async def _failed(payments: ServiceProcess) -> set[str]:
    checks = (await payments.health()).get("checks", {})
    return {name for name, check in checks.items() if check["status"] == "failed"}


async def _fails(payments: ServiceProcess, expected: set[str]) -> bool:
    return await _failed(payments) == expected


async def _has_only(payments: ServiceProcess, name: str) -> bool:
    return set(await payments.metrics()) == {name}
