"""`mkstore doctor`: each problem is reported with its fix."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from typer.testing import CliRunner, Result

from contracts.consumers import durables
from contracts.streams import DEAD, DEAD_LETTERS, PAYMENT_EVENTS, STREAMS
from kit.messaging.streams import provision, provision_consumers, stream_config
from kit.ops.revisions import newest_revision
from mkstore.cli.main import app
from mkstore.services import SERVICES
from mkstore.stack.migrations import migrate
from mkstore.stack.servers import NatsServer, PostgresServer
from tests.conftest import ROOT
from tests.support.fake_services import FakeServices, documented, fake_services
from tests.support.unsynced_nats import UnsyncedNats

MKSTORE = str(Path(sys.executable).with_name("mkstore"))
Work = Callable[[JetStreamContext], Awaitable[Any]]


class Store(NamedTuple):
    """Servers as the services leave them; fake services answer on NATS."""

    nats: NatsServer
    postgres: PostgresServer
    services: FakeServices

    @property
    def environment(self) -> dict[str, str]:
        return {
            "NATS_URL": self.nats.admin_url,
            "NATS_MONITOR_URL": self.nats.monitor_url,
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(self.postgres.port),
            "DB_USER": self.postgres.user,
            "DB_PASSWORD": self.postgres.password,
        }

    def doctor(self, *options: str, **environment: str) -> Result:
        env = {"STREAM_REPLICAS": None, "COLUMNS": "400", **self.environment, **environment}
        return CliRunner().invoke(app, ["doctor", *options], env=env)

    def reasons(self, status: str, **environment: str) -> dict[str, str]:
        """Return the checks with this status and their reasons."""
        return self.reasons_by_status(**environment)[status]

    def reasons_by_status(self, **environment: str) -> dict[str, dict[str, str]]:
        """Return the checks and their reasons by status; verify the exit code."""
        done = self.doctor("--json", **environment)
        rows = json.loads(done.stdout)
        assert done.exit_code == (1 if any(row["status"] == "failed" for row in rows) else 0), done.output
        by_status: dict[str, dict[str, str]] = {"ok": {}, "failed": {}, "warning": {}}
        for row in rows:
            by_status[row["status"]][row["check"]] = row["reason"]
        return by_status

    def on_nats(self, work: Work) -> None:
        async def run() -> None:
            client = Client()
            await client.connect(self.nats.admin_url)
            await work(client.jetstream())
            await client.close()

        asyncio.run(run())

    def on_database(self, name: str, statement: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.postgres.url_of(name))
            await connection.execute(statement)
            await connection.close()

        asyncio.run(run())


async def _as_the_services_leave_it(jetstream: JetStreamContext) -> None:
    await provision(jetstream, STREAMS)
    await provision_consumers(jetstream, durables())


@pytest.fixture(scope="module")
def migrated(one_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> PostgresServer:
    owners = [spec for spec in SERVICES if spec.database is not None]
    one_postgres.create_databases(*(str(spec.database) for spec in owners))
    login = {"DB_HOST": "127.0.0.1", "DB_PORT": str(one_postgres.port)}
    login |= {"DB_USER": one_postgres.user, "DB_PASSWORD": one_postgres.password}
    log = tmp_path_factory.mktemp("migrations") / "log"
    work = [(spec, {**os.environ, **login, "DB_DATABASE": str(spec.database)}, log) for spec in owners]
    asyncio.run(migrate(work, timeout=90))
    return one_postgres


@pytest.fixture
def store(nats: NatsServer, migrated: PostgresServer) -> Iterator[Store]:
    with fake_services(nats.admin_url) as services:
        store = Store(nats, migrated, services)
        store.on_nats(_as_the_services_leave_it)
        yield store


DURABLES = """
import json
from apps.gateway.main import app as gateway
from apps.payments.main import app as payments
from apps.users.main import app as users
from kit.messaging.broker import durables
subscribers = [subscriber for app in (gateway, payments, users) for subscriber in app.broker.subscribers]
print(json.dumps([(stream, config.durable_name) for stream, config in durables(subscribers)]))
"""


def test_every_durable_consumer_is_provisioned_and_checked() -> None:
    # In a new process: a router belongs to the last app that was built with it.
    done = subprocess.run([sys.executable, "-c", DURABLES], capture_output=True, text=True, check=True, cwd=ROOT)
    declared = [tuple(pair) for pair in json.loads(done.stdout.splitlines()[-1])]
    assert sorted(declared) == sorted((each.stream.name, each.name) for each in durables())


def test_healthy_store_passes_every_check(store: Store) -> None:
    env = {**os.environ, "COLUMNS": "400", **store.environment}
    done = subprocess.run([MKSTORE, "doctor"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for name in ("nats-sync", "database-clock", "stream PAYMENT_COMMANDS", "users schema", "dead letters"):
        assert name in done.stdout
    assert "users contract" in done.stdout
    assert "None" not in done.stdout
    reasons_by_status = store.reasons_by_status()
    assert (reasons_by_status["failed"], reasons_by_status["warning"]) == ({}, {})


def test_unsynced_nats_fails_also_in_development(tmp_path: Path, migrated: PostgresServer) -> None:
    with UnsyncedNats(tmp_path / "nats") as nats, fake_services(nats.admin_url) as services:
        store = Store(nats, migrated, services)
        store.on_nats(_as_the_services_leave_it)
        reasons = store.reasons("failed")
        assert set(reasons) == {"nats-sync"}
        assert "set `sync_interval: always` in its jetstream block" in reasons["nats-sync"]
        assert "sync_interval: always" in store.doctor().stdout


def test_unknown_sync_setting_is_a_warning(store: Store) -> None:
    reasons = store.reasons("warning", NATS_MONITOR_URL="")
    assert set(reasons) == {"nats-sync"}
    assert "set NATS_MONITOR_URL" in reasons["nats-sync"]


def test_changed_and_missing_streams_fail(store: Store) -> None:
    async def harm(jetstream: JetStreamContext) -> None:
        await jetstream.update_stream(replace(stream_config(PAYMENT_EVENTS), max_age=3600.0))
        await jetstream.delete_stream(DEAD_LETTERS.name)

    store.on_nats(harm)
    reasons = store.reasons("failed")
    assert {"stream PAYMENT_EVENTS", "stream DEAD_LETTERS"} <= set(reasons)
    assert "max_age" in reasons["stream PAYMENT_EVENTS"]
    assert reasons["stream PAYMENT_EVENTS"].endswith(": run `mkstore provision`.")
    assert reasons["stream DEAD_LETTERS"] == "stream DEAD_LETTERS is missing: run `mkstore provision`."


def test_missing_consumer_fails(store: Store) -> None:
    durable = durables()[0]
    store.on_nats(lambda jetstream: jetstream.delete_consumer(durable.stream.name, durable.name))
    assert store.reasons("failed") == {
        f"consumer {durable.name}": f"consumer {durable.name} of stream {durable.stream.name} is missing: "
        "run `mkstore provision`."
    }


def test_outdated_schema_fails_with_the_command(store: Store) -> None:
    newest = newest_revision(ROOT / "apps/users/migrations")
    store.on_database("users_db", "UPDATE alembic_version SET version_num = '0001'")
    try:
        reasons = store.reasons("failed")
    finally:
        store.on_database("users_db", f"UPDATE alembic_version SET version_num = '{newest}'")  # noqa: S608 - of a file here
    assert set(reasons) == {"users schema"}
    assert reasons["users schema"].endswith("Run: alembic -c apps/users/alembic.ini upgrade head")


def test_dead_letters_and_old_outbox_events_are_warnings(store: Store) -> None:
    store.on_nats(lambda jetstream: jetstream.publish(f"{DEAD}payments.create.x", b"x"))
    store.on_database(
        "payments_db",
        "INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, body, occurred_at, request_id, traceparent)"
        " VALUES (gen_random_uuid(), 'payment.created', gen_random_uuid(), 1, '', now() - interval '1 minute', '', '')",
    )
    try:
        reasons = store.reasons("warning")
    finally:
        store.on_database("payments_db", "DELETE FROM outbox")
    assert reasons.keys() == {"dead letters", "payments outbox"}
    assert reasons["dead letters"] == "The dead-letter queue holds 1 message: run `mkstore dead-letters list`."
    assert "The outbox holds 1 unpublished event, the oldest is 6" in reasons["payments outbox"]


def test_what_no_document_describes_is_a_warning(store: Store) -> None:
    async def leave(jetstream: JetStreamContext) -> None:
        await jetstream.publish("payment.refunded", b"{}")
        await jetstream.add_consumer(PAYMENT_EVENTS.name, durable_name="mails-thank", filter_subject="payment.created")
        await jetstream.add_stream(name="ORDERS", subjects=["order.*"])

    store.on_nats(leave)
    reasons = store.reasons("warning")
    assert reasons.keys() == {"subjects", "other consumers", "other streams"}
    assert "PAYMENT_EVENTS has messages on payment.refunded (1)" in reasons["subjects"]
    assert "`nats consumer rm PAYMENT_EVENTS mails-thank`" in reasons["other consumers"]
    assert "`nats stream rm ORDERS`" in reasons["other streams"]


def test_missing_services_and_other_contracts_are_warnings(store: Store) -> None:
    store.services.processes = [
        ("users", "0123456789abcdef" * 4),
        ("users", documented("users")),
        ("payments", "fedcba9876543210" * 4),
        ("somebody-else", ""),
    ]
    reasons = store.reasons("warning")
    assert reasons.keys() == {"users contract", "payments contract", "gateway contract"}
    assert reasons["users contract"] == (
        "users runs another contract than this code documents in 1 of 2 processes: it runs 0.1.0 with "
        f"0123456789ab, and asyncapi/users.json here is {documented('users')[:12]}. Deploy this code, update its "
        "document with `mkstore docs`, or run `mkstore doctor` of the deployed code."
    )
    assert "payments runs another contract than this code documents: it" in reasons["payments contract"]
    assert reasons["gateway contract"] == "gateway does not answer on NATS: start it, or check its log."


def test_unreachable_servers_fail_with_a_fix(store: Store, nats: NatsServer) -> None:
    nats.stop()
    reasons = store.reasons("failed", DB_PASSWORD="wrong")
    assert reasons["nats"] == "NATS does not answer: start it, or set NATS_URL to its address."
    assert "password authentication failed" in reasons["users schema"]
    reasons = store.reasons("failed", DB_PORT="1")
    assert reasons["users schema"] == "PostgreSQL does not answer: start it, or set DB_HOST and DB_PORT to its address."


def test_state_folder_without_a_run_fails(store: Store, tmp_path: Path) -> None:
    done = store.doctor("--home", str(tmp_path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "No mkstore runs in" in done.stderr
