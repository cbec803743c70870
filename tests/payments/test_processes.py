"""The payments service as a process: how it starts, and what happens to payments when it or a server dies."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from nats.errors import Error as NatsError

from contracts.consumers import PAYMENTS_CREATE_PAYMENT, PAYMENTS_CREATE_PAYMENTS
from contracts.payments import CreatePayment, PaymentCreated
from contracts.streams import DEAD, DEAD_LETTERS, KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS
from kit.messaging.broker import Broker
from kit.messaging.streams import stream_config
from mkstore.testing.fakes.payment_queue import UNKEYED
from tests.payments.conftest import client_of
from tests.support import service_processes
from tests.support.killable_servers import KillableServers
from tests.support.payment_commands import new_command, new_commands
from tests.support.payments_harness import OnServers, unhandled
from tests.support.polling import eventually
from tests.support.provisioning import provision
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
            "database-copies": "ok",
            "outbox-lag": "ok",
            "subjects": "warning",
            "memory": "warning",
            "consumers": "ok",
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
    """Half of the payments have keys, the others are in batches."""
    commands = [each for number in range(20) for each in (*_keyed(number), *new_commands(5, amount=number + 1))]
    ids = {command.id for command in commands}
    async with connect(servers.nats.url) as broker:
        client = client_of(servers, broker)
        async with run_payments(tmp_path, servers.environment) as first:
            await first.wait_ready()
            await _send(client, commands[:100])
            await client.recorded(commands[99].id)
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # PostgreSQL dies with the lock
                async with client.table_locked():
                    await _send(client, commands[100:])
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


def _keyed(number: int) -> list[CreatePayment]:
    return [new_command(amount=number + 1) for _ in range(5)]


async def _send(client: OnServers, commands: Sequence[CreatePayment]) -> None:
    batches: dict[str, list[CreatePayment]] = {}
    for command in commands:
        batches.setdefault(command.id.hex[:24], []).append(command)
    keyed = [each for each in commands if each.id.version != UNKEYED]
    await asyncio.gather(
        client.send(*keyed),
        *(client.send_together(*batch) for batch in batches.values() if batch[0].id.version == UNKEYED),
    )


async def _is_consuming(broker: Broker) -> bool:
    """Return whether the service has commands of both kinds that it has not acknowledged."""
    infos = [
        await broker.jetstream.consumer_info(durable.stream.name, durable.name)
        for durable in (PAYMENTS_CREATE_PAYMENT, PAYMENTS_CREATE_PAYMENTS)
    ]
    return all(info.num_ack_pending for info in infos)


async def _all_published(client: OnServers, ids: Collection[UUID]) -> bool:
    """Return whether the events of all payments are published, and no command is left."""
    with suppress(NatsError):
        if await unhandled(client.broker):
            return False
        created = {each.event.aggregate_id for each in await client.all_events() if type(each.event) is PaymentCreated}
        return created >= set(ids)
    return False


async def _recorded_rows(client: OnServers, ids: Collection[UUID]) -> list[tuple[UUID, int, str]]:
    async with client.sql() as connection:
        rows = await connection.fetch("SELECT id, amount, status FROM payments WHERE id = ANY($1)", list(ids))
    return [tuple(row) for row in rows]


async def test_command_that_nothing_consumes_is_a_warning(tmp_path: Path, servers: KillableServers) -> None:
    """An earlier version had another subject: its command stays in the stream, which no longer stores the subject."""
    current = stream_config(PAYMENT_COMMANDS)
    async with connect(servers.nats.url) as broker:
        earlier = replace(current, subjects=[*PAYMENT_COMMANDS.subjects, "payments.create.old"])
        await broker.jetstream.update_stream(earlier)
        await broker.jetstream.publish("payments.create.old", b"{}")
        await broker.jetstream.update_stream(current)
        try:
            async with run_payments(tmp_path, servers.environment) as payments:
                await payments.wait_ready()
                report = await payments.health()
        finally:
            await broker.jetstream.purge_stream(PAYMENT_COMMANDS.name, subject="payments.create.old")
    assert (report["status"], report["checks"]["subjects"]["status"]) == ("ok", "warning")
    assert "PAYMENT_COMMANDS has messages on payments.create.old (1)" in report["checks"]["subjects"]["reason"]


async def test_health_and_metrics_of_every_worker_survive_outages(tmp_path: Path, servers: KillableServers) -> None:
    async with (
        run_payments(tmp_path, servers.environment, "--workers", "2") as payments,
        connect(servers.nats.url) as broker,
    ):
        await payments.wait_ready()
        before = (await broker.jetstream.stream_info(DEAD_LETTERS.name)).state.messages
        await broker.jetstream.publish(f"{DEAD}payments.create.key.x", b"x")
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
        await eventually(lambda: _has_none_of(payments, expected))
        assert "mkstore_outbox_leads" in await payments.metrics()  # it needs no server
        servers.postgres.start()
        await eventually(lambda: _fails(payments, {"nats"}))
        servers.nats.start()
        await payments.wait_for_metrics(expected, workers=2)
        await payments.wait_ready()
        await broker.jetstream.delete_stream(DEAD_LETTERS.name)
        reason = (await payments.health())["checks"]["nats"]["reason"]
        assert reason == f"stream {DEAD_LETTERS.name} is missing: run `mkstore provision`."
        provision(servers.nats.url)
        await payments.wait_ready()


async def _failed(payments: ServiceProcess) -> set[str]:
    checks = (await payments.health()).get("checks", {})
    return {name for name, check in checks.items() if check["status"] == "failed"}


async def _fails(payments: ServiceProcess, expected: set[str]) -> bool:
    return await _failed(payments) == expected


async def _has_none_of(payments: ServiceProcess, names: Collection[str]) -> bool:
    return not set(names) & set(await payments.metrics())


@pytest.mark.parametrize("point", ["half-handled", "before-ack", "after-commit"])
async def test_batch_is_recorded_once_when_the_service_dies_in_between(
    tmp_path: Path, servers: KillableServers, point: str
) -> None:
    """A batch whose process died is recorded one payment at a time, so it can die half recorded as well."""
    failpoints = tmp_path / "failpoints"
    failpoints.mkdir()
    environment = {**servers.environment, "FAILPOINTS": str(failpoints)}
    commands = new_commands(50)
    ids = {command.id for command in commands}
    async with connect(servers.nats.url) as broker:
        client = client_of(servers, broker)
        async with run_payments(tmp_path, environment) as payments:
            await payments.wait_ready()
            (failpoints / "payments.before-commit").touch()
            await client.send_together(*commands)
            await payments.wait_exit()
        (failpoints / f"payments.{point}").touch()
        async with run_payments(tmp_path, environment) as payments:
            await payments.wait_exit()
        async with run_payments(tmp_path, environment) as payments:
            await eventually(lambda: _all_published(client, ids), describe=lambda: payments.text)
        assert len(await _recorded_rows(client, ids)) == len(ids)
        published = [each.event.aggregate_id for each in await client.all_events() if each.event.aggregate_id in ids]
        assert Counter(published) == Counter(ids)


@pytest.mark.parametrize("point", ["before-purge", "after-purge"])
async def test_no_payment_is_lost_when_the_service_dies_around_a_purge(
    tmp_path: Path, servers: KillableServers, point: str
) -> None:
    failpoints = tmp_path / "failpoints"
    failpoints.mkdir()
    (failpoints / f"payments.{point}").touch()
    environment = {**servers.environment, "FAILPOINTS": str(failpoints), "REMEMBERED_KEYS": "10"}
    commands = [new_command() for _ in range(60)]
    ids = {command.id for command in commands}
    async with connect(servers.nats.url) as broker:
        client = client_of(servers, broker)
        await client.send(*commands)
        async with run_payments(tmp_path, environment) as payments:
            await payments.wait_exit()
        async with run_payments(tmp_path, environment) as payments:
            await eventually(lambda: _all_published(client, ids), describe=lambda: payments.text)
            await eventually(lambda: _remembers(broker, 10), describe=lambda: payments.text)
            await payments.wait_ready()
            assert (await payments.health())["checks"]["memory"]["status"] == "ok"
        assert len(await _recorded_rows(client, ids)) == len(ids)


async def _remembers(broker: Broker, number: int) -> bool:
    return (await broker.jetstream.stream_info(KEYED_PAYMENT_COMMANDS.name)).state.messages == number
