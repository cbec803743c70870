"""The users service as a process: how it starts, how it refuses to, and what becomes of it when a server dies."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from apps.users.models import User
from apps.users.repository import Users
from apps.users.settings import Settings
from contracts.errors import ErrorKind
from contracts.users import (
    Authenticate,
    CreateUser,
    GetKeys,
    GetUsers,
    UpdateUser,
    UserCreated,
    UserUpdated,
)
from kit import database
from kit.errors import RemoteProblem
from kit.messaging.client import RequestClient
from kit.runtime.settings import load
from kit.tokens import Verifier
from mkstore.stack import ports
from mkstore.stack.servers import NatsServer, PostgresServer
from tests.conftest import ROOT, NewDatabase
from tests.support import service_processes
from tests.support.polling import eventually
from tests.support.service_processes import ServiceProcess, connect
from tests.support.users_harness import PASSWORD, cheap, events_of, for_real, new_email
from tests.users.conftest import settings_for


@asynccontextmanager
async def started(folder: Path, environment: Mapping[str, str], *options: str) -> AsyncIterator[ServiceProcess]:
    """Run the users service until the end of the block."""
    secret = {"JWT_SECRET": "a secret of the tests"}
    async with service_processes.run_service("users", folder, secret | dict(environment), *options) as users:
        yield users


class Own(NamedTuple):
    """Servers that a test may kill.

    They are started where the test runs and not in a thread: Linux ends a child when the thread that made it ends.
    """

    nats: NatsServer
    postgres: PostgresServer
    environment: dict[str, str]


@pytest.fixture(scope="module")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """Make servers of this module's own, and a migrated database on them."""
    folder = tmp_path_factory.mktemp("own")
    with NatsServer(folder / "nats") as nats, PostgresServer(folder / "postgres") as postgres:
        postgres.create_databases("users_db")
        environment = {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(postgres.port),
            "DB_USER": postgres.user,
            "DB_PASSWORD": postgres.password,
            "DB_DATABASE": "users_db",
        }
        subprocess.run(
            [sys.executable, "-m", "alembic", "-c", "apps/users/alembic.ini", "upgrade", "head"],
            env={**os.environ, **environment},
            cwd=ROOT,
            check=True,
        )
        yield Own(nats, postgres, environment)


@pytest.fixture
def own(own_servers: Own) -> Own:
    """Return servers of this module's own that run, whatever the test before did to them."""
    for server in (own_servers.nats, own_servers.postgres):
        if not server.is_running:
            server.start()
    return own_servers


async def test_an_older_schema_stops_the_start_with_a_sentence(
    tmp_path: Path, nats_server: NatsServer, postgres_server: PostgresServer
) -> None:
    name = f"users_{secrets.token_hex(4)}"
    await asyncio.to_thread(postgres_server.create_databases, name)
    environment = {
        "NATS_URL": nats_server.url,
        "DB_PORT": str(postgres_server.port),
        "DB_USER": postgres_server.user,
        "DB_PASSWORD": postgres_server.password,
        "DB_DATABASE": name,
    }
    async with started(tmp_path, environment) as users:
        assert await users.wait_exit() == 3
        assert "The database is at revision none" in users.text
        assert "alembic -c apps/users/alembic.ini upgrade head" in users.text
        assert "Traceback" not in users.text


async def test_another_secret_stops_the_start_with_a_sentence(
    tmp_path: Path, nats_server: NatsServer, users_database: dict[str, str]
) -> None:
    async with for_real(cheap(settings_for(users_database, nats_server.url))):
        pass  # a signing key is there now
    environment = {**users_database, "NATS_URL": nats_server.url, "JWT_SECRET": "another"}
    async with started(tmp_path, environment) as users:
        assert await users.wait_exit() == 3
        assert "JWT_SECRET does not open the signing key" in users.text
        assert "Traceback" not in users.text


def test_production_without_a_secret_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"APP_ENV": "production", "JWT_SECRET": "", "DB_PASSWORD": "x"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="JWT_SECRET must be set to your own secret"):
        load(Settings)


async def test_a_service_that_waits_for_its_database_can_be_stopped(tmp_path: Path) -> None:
    async with started(tmp_path, {"DB_PORT": str(ports.free_port())}) as users:
        await users.wait_for_log("waiting for the database")
        users.process.send_signal(signal.SIGTERM)
        assert await users.wait_exit() == -signal.SIGTERM


async def test_it_starts_before_its_servers_do(tmp_path: Path, own: Own) -> None:
    own.postgres.stop()
    own.nats.stop()
    async with started(tmp_path, {**own.environment, "NATS_URL": own.nats.url}) as users:
        await users.wait_for_log("waiting for the database")
        own.postgres.start()
        report = await eventually(users.health, describe=lambda: users.text)
        assert {name: check["status"] for name, check in report["checks"].items()} == {
            "nats": "failed",
            "database": "ok",
            "outbox": "failed",
            "nats-sync": "warning",
            "nats-clock": "ok",
            "database-clock": "ok",
            "outbox-lag": "ok",
        }
        own.nats.start()
        await users.wait_ready()
        async with connect(own.nats.url) as broker:
            user = await RequestClient(broker).request(CreateUser(email=new_email(), password=PASSWORD), timeout=10)
            assert len(await events_of(broker, user.id, 1)) == 1
        users.process.send_signal(signal.SIGTERM)
        await users.wait_exit()
        assert "Traceback" not in users.text


async def test_a_service_that_waits_for_nats_can_be_stopped(tmp_path: Path, users_database: dict[str, str]) -> None:
    async with started(tmp_path, {**users_database, "NATS_URL": f"nats://127.0.0.1:{ports.free_port()}"}) as users:
        await eventually(users.health, describe=lambda: users.text)
        users.process.send_signal(signal.SIGTERM)
        assert await users.wait_exit() in {0, -signal.SIGTERM}


async def test_several_processes_share_the_work_and_one_key(
    tmp_path: Path, nats_server: NatsServer, new_database: NewDatabase
) -> None:
    environment = {**new_database("users"), "NATS_URL": nats_server.url}
    async with started(tmp_path, environment, "--workers", "2") as users, connect(nats_server.url) as broker:
        await eventually(lambda: users.text.count("Application startup complete") == 2)
        await users.wait_ready()
        email, client = new_email(), RequestClient(broker, timeout=10)
        await client.request(CreateUser(email=email, password=PASSWORD))
        tokens = [await client.request(Authenticate(email=email, password=PASSWORD)) for _ in range(8)]
        keys = (await client.request(GetKeys())).keys
        verifier = Verifier({key.kid: key.model_dump() for key in keys})
        assert len({verifier.verify(one.access_token).sub for one in tokens}) == 1


async def test_while_postgresql_is_away_requests_are_refused_at_once_and_afterwards_answered(own: Own) -> None:
    async with for_real(cheap(settings_for(own.environment, own.nats.url))) as service:
        user = await service.new_user()
        own.postgres.kill()
        asked = time.monotonic()
        for request in (GetUsers(ids=(user.id,)), UpdateUser(id=user.id, name="Ada")):
            problem = await service.refuse(request)
            assert (problem.kind, problem.slug) == (ErrorKind.UNAVAILABLE, "service-unavailable")
        assert time.monotonic() - asked < 3
        own.postgres.start()

        async def changed() -> int:
            try:
                return (await service.ask(UpdateUser(id=user.id, name="Countess"))).version
            except RemoteProblem as refused:
                if refused.kind == ErrorKind.UNAVAILABLE:
                    return 0
                raise

        assert await eventually(changed) == 2
        assert [sent.event.aggregate_version for sent in await service.told(user.id, 2)] == [1, 2]


async def test_events_keep_their_order_and_none_is_lost_when_nats_is_killed(own: Own) -> None:
    versions = 120
    settings = settings_for(own.environment, own.nats.url)
    pool = database.create_engine(settings)
    halfway = asyncio.Event()

    async def change_often(user: User) -> None:
        async with Users(pool) as users:
            await users.add(user)
            await users.emit(UserCreated(user=user.view()))
        for version in range(2, versions + 1):
            async with Users(pool) as users:
                changed = await users.get_locked(user.id)
                changed.change(UpdateUser(id=user.id, name=f"Ada the {version}"))
                await users.save(changed)
                await users.emit(UserUpdated(user=changed.view()))
            if version == versions // 2:
                halfway.set()

    made = [User.register(email=new_email(), name=None, password_hash="none") for _ in range(4)]
    async with for_real(cheap(settings)) as service:
        changes = asyncio.gather(*map(change_often, made))
        for _ in range(2):
            await halfway.wait()
            own.nats.kill()
            own.nats.start()
            halfway.clear()
            if changes.done():
                break
            halfway.set()
        await changes
        await eventually(service.broker.is_connected)
        for user in made:
            told = await service.told(user.id, versions)
            assert [sent.event.aggregate_version for sent in told] == list(range(1, versions + 1))
            assert len({sent.headers["ce-id"] for sent in told}) == versions
    await pool.dispose()
