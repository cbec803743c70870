"""The users service as a process: how it starts, when it refuses to, and what happens when a server dies."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apps.users.key_repository import SigningKeys
from apps.users.keys import new_key
from apps.users.models import User
from apps.users.repository import Users
from contracts.errors import ErrorKind
from contracts.keys import GetKeys
from contracts.sessions import Authenticate
from contracts.streams import USER_EVENTS
from contracts.users import CreateUser, GetUsers, UpdateUser, UserCreated, UserUpdated
from kit import database
from kit.errors import RemoteProblem
from kit.messaging.client import RequestClient
from kit.tokens import Verifier
from mkstore.stack import ports
from mkstore.stack.servers import NatsServer, PostgresServer
from mkstore.testing.signing_keys import SECRET
from tests.conftest import NewDatabase
from tests.support import service_processes
from tests.support.killable_servers import KillableServers, killable_servers
from tests.support.polling import eventually
from tests.support.service_harness import stored_events
from tests.support.service_processes import ServiceProcess, connect
from tests.support.users_harness import PASSWORD, low_cost, new_email, on_servers
from tests.users.conftest import settings_for


@asynccontextmanager
async def run_users(folder: Path, environment: Mapping[str, str], *options: str) -> AsyncIterator[ServiceProcess]:
    """Run the users service until the block ends."""
    secret = {"JWT_SECRET": SECRET.get_secret_value()}
    async with service_processes.run_service("users", folder, secret | dict(environment), *options) as users:
        yield users


@pytest.fixture(scope="module")
def module_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableServers]:
    """Run servers for the tests of this module."""
    with killable_servers(tmp_path_factory.mktemp("servers"), "users") as servers:
        yield servers


@pytest.fixture
def servers(module_servers: KillableServers) -> KillableServers:
    """Return the module's servers, running."""
    module_servers.restart()
    return module_servers


async def test_an_older_schema_stops_the_start(
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
    async with run_users(tmp_path, environment) as users:
        assert await users.wait_exit() == 3
        assert "The database is at revision none" in users.text
        assert "alembic -c apps/users/alembic.ini upgrade head" in users.text
        assert "Traceback" not in users.text


async def test_another_secret_stops_the_process(
    tmp_path: Path, nats_server: NatsServer, new_database: NewDatabase
) -> None:
    environment = new_database("users")
    pool = database.create_pool(settings_for(environment, nats_server.url))
    async with SigningKeys(pool) as keys:
        await keys.add_first(new_key(SECRET))
    await pool.close()
    async with run_users(tmp_path, {**environment, "NATS_URL": nats_server.url, "JWT_SECRET": "another"}) as users:
        assert await users.wait_exit() == 3
        assert "JWT_SECRET does not open the signing key" in users.text
        assert "Traceback" not in users.text


async def test_wrong_password_of_nats_stops_the_process(
    tmp_path: Path, nats_server: NatsServer, new_database: NewDatabase
) -> None:
    wrong = nats_server.url.replace("services:", "services:wrong-")
    async with run_users(tmp_path, {**new_database("users"), "NATS_URL": wrong}) as users:
        assert await users.wait_exit() in {3, -signal.SIGTERM}  # before, or after HTTP is served
        assert "NATS refuses the login: correct the user and the password in NATS_URL." in users.text
        assert "Traceback" not in users.text
        assert "wrong-" not in users.text


async def test_a_service_that_waits_for_its_database_can_be_stopped(tmp_path: Path) -> None:
    port = ports.free_port()
    async with run_users(tmp_path, {"DB_PORT": str(port)}) as users:
        await users.wait_for_log("waiting for the database")
        assert f"127.0.0.1:{port} (DB_HOST, DB_PORT)" in users.text
        users.process.send_signal(signal.SIGTERM)
        assert await users.wait_exit() == -signal.SIGTERM


async def test_it_may_start_before_its_servers(tmp_path: Path, servers: KillableServers) -> None:
    servers.postgres.stop()
    servers.nats.stop()
    async with run_users(tmp_path, servers.environment) as users:
        await users.wait_for_log("waiting for the database")
        servers.postgres.start()
        report = await eventually(users.health, describe=lambda: users.text)
        assert {name: check["status"] for name, check in report["checks"].items()} == {
            "nats": "failed",
            "database": "ok",
            "outbox": "failed",
            "keys": "failed",
            "nats-sync": "warning",
            "nats-clock": "ok",
            "database-clock": "ok",
            "database-copies": "ok",
            "outbox-lag": "ok",
            "subjects": "warning",
        }
        servers.nats.start()
        await users.wait_ready()
        async with connect(servers.nats.url) as broker:
            await RequestClient(broker).request(CreateUser(email=new_email(), password=PASSWORD), timeout=10)
            await eventually(lambda: stored_events(broker, USER_EVENTS, "users"))
        users.process.send_signal(signal.SIGTERM)
        await users.wait_exit()
        assert "Traceback" not in users.text


async def test_a_service_that_waits_for_nats_can_be_stopped(tmp_path: Path, users_database: dict[str, str]) -> None:
    async with run_users(tmp_path, {**users_database, "NATS_URL": f"nats://127.0.0.1:{ports.free_port()}"}) as users:
        await eventually(users.health, describe=lambda: users.text)
        users.process.send_signal(signal.SIGTERM)
        assert await users.wait_exit() in {0, -signal.SIGTERM}


async def test_workers_share_one_signing_key(
    tmp_path: Path, nats_server: NatsServer, new_database: NewDatabase
) -> None:
    environment = {**new_database("users"), "NATS_URL": nats_server.url}
    async with run_users(tmp_path, environment, "--workers", "2") as users, connect(nats_server.url) as broker:
        await eventually(lambda: users.text.count("Application startup complete") == 2)
        await users.wait_ready()
        email, client = new_email(), RequestClient(broker, timeout=10)
        await client.request(CreateUser(email=email, password=PASSWORD))
        tokens = [await client.request(Authenticate(email=email, password=PASSWORD)) for _ in range(8)]
        keys = (await client.request(GetKeys())).keys
        verifier = Verifier({key.kid: key.model_dump() for key in keys})
        assert len({verifier.verify(each.access_token).sub for each in tokens}) == 1


async def test_requests_are_refused_only_while_postgresql_is_away(servers: KillableServers) -> None:
    async with on_servers(low_cost(settings_for(servers.environment, servers.nats.url))) as service:
        user = await service.new_user()
        servers.postgres.kill()
        for request in (GetUsers(ids=(user.id,)), UpdateUser(id=user.id, name="Ada")):
            problem = await service.request_refused(request)  # a late refusal would be `outcome-unknown`
            assert (problem.kind, problem.slug) == (ErrorKind.UNAVAILABLE, "service-unavailable")
        servers.postgres.start()

        async def changed() -> int:
            try:
                return (await service.request(UpdateUser(id=user.id, name="Countess"))).version
            except RemoteProblem as refused:
                if refused.kind == ErrorKind.UNAVAILABLE:
                    return 0
                raise

        assert await eventually(changed) == 2
        published = await service.published_events(user.id, 2)
        assert [each.event.aggregate_version for each in published] == [1, 2]


async def test_events_keep_their_order_when_nats_is_killed(servers: KillableServers) -> None:
    versions = 60
    settings = settings_for(servers.environment, servers.nats.url)
    pool = database.create_pool(settings)
    kills = asyncio.Queue[int]()

    async def change_often(user: User) -> None:
        async with Users(pool) as users:
            await users.add(user)
            await users.emit(UserCreated(user=user.view()))
        for version in range(2, versions + 1):
            async with Users(pool) as users:
                changed = await users.get_locked(user.id)
                changed.change(UpdateUser(id=user.id, name=f"Ada the {version}"), datetime.now(UTC))
                await users.save(changed)
                await users.emit(UserUpdated(user=changed.view()))
            if version in {versions // 3, 2 * versions // 3}:
                kills.put_nowait(version)

    users = [User.register(email=new_email(), name=None, password_hash="none", now=datetime.now(UTC)) for _ in range(3)]
    async with on_servers(low_cost(settings)) as service:
        changes = asyncio.gather(*map(change_often, users))
        for _ in range(2):
            await kills.get()
            servers.nats.kill()
            servers.nats.start()
        await changes
        await eventually(service.broker.is_connected)
        for user in users:
            published = await service.published_events(user.id, versions)
            assert [each.event.aggregate_version for each in published] == list(range(1, versions + 1))
            assert len({each.headers["ce-id"] for each in published}) == versions
    await pool.close()
