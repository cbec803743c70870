"""TLS with PostgreSQL, on a server of Debian's package: `uv run pytest tests/debian`, a step of `.ci/run`."""

import asyncio
import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from kit import database
from kit.connection import connect
from kit.outbox.leader import lead
from kit.runtime.settings import DatabaseSettings
from kit.runtime.tls import TlsFailed
from mkstore.certificates import LOOPBACK, Authority, Subject
from tests.conftest import ROOT
from tests.support.certificates import new_certificates, replace_certificate
from tests.support.debian_postgres import DebianPostgres, certificate_of, in_file, running_server, serving
from tests.support.http_client import PASSWORD, calling, operator
from tests.support.running_store import running
from tests.support.service_processes import run_service
from tests.support.users_harness import new_email

_SERVER = Subject("postgres", LOOPBACK)


class Shop(DatabaseSettings):
    db_database: str = "postgres"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(scope="module")
def server(certificates: Path) -> Iterator[DebianPostgres]:
    with running_server(certificates) as server:
        yield server


@pytest.fixture(scope="module")
def plain_server() -> Iterator[DebianPostgres]:
    with running_server(None) as server:
        yield server


def variables(server: DebianPostgres, authority: Path | None, **others: str) -> dict[str, str]:
    """Return the environment of a service that verifies the server."""
    verified = {"DB_SSLMODE": "verify-full", "DB_SSLROOTCERT": str(authority / "ca.crt")} if authority else {}
    login = {"DB_USER": server.user, "DB_PASSWORD": server.password, "DB_PORT": str(server.port)}
    return login | verified | others


def settings(server: DebianPostgres, authority: Path | None, **others: str) -> Shop:
    values = {name.lower(): value for name, value in variables(server, authority, **others).items()}
    return Shop.model_validate(values)


async def refusal(server: DebianPostgres, authority: Path | None, **others: str) -> str:
    """Return why a connection fails, the same for both kinds of connections."""
    shop = settings(server, authority, **others)
    pool, engine = database.create_pool(shop), database.create_engine(shop)
    with pytest.raises(TlsFailed) as of_pool:
        await pool.acquire()
    with pytest.raises(TlsFailed) as of_engine:
        await database.ping(engine)
    await engine.dispose()
    assert str(of_pool.value) == str(of_engine.value)
    return str(of_pool.value)


def copied(certificates: Path, folder: Path) -> Path:
    shutil.copytree(certificates, folder)
    return folder


async def test_server_is_of_the_distribution_and_does_not_run_as_root(server: DebianPostgres) -> None:
    assert server.pid is not None
    assert psutil.Process(server.pid).exe().startswith("/usr/lib/postgresql/")
    assert psutil.Process(server.pid).uids().effective != 0


async def test_every_connection_of_a_service_is_encrypted(server: DebianPostgres, certificates: Path) -> None:
    """The pool, the engine of checks, and the session of the relay's leader."""
    shop = settings(server, certificates)
    pool, engine = database.create_pool(shop), database.create_engine(shop)
    connection = await pool.acquire()
    async with lead(database.dsn(database.url(shop)), 4217), engine.connect() as other:
        await other.execute(text("SELECT 1"))
        query = "SELECT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = $1"
        found = await connection.fetch(query, server.user)
    pool.release(connection)
    await pool.close()
    await engine.dispose()
    assert len(found) >= 3
    assert {tuple(row) for row in found} == {(True, "TLSv1.3")}


async def test_store_runs_on_a_server_that_accepts_encrypted_connections_only(
    server: DebianPostgres, certificates: Path
) -> None:
    """Databases, migrations, services and the operator's commands use the same variables."""
    env = {"DB_HOST": "127.0.0.1", **variables(server, certificates)}
    with running("--ephemeral", "--port", "0", "--workers", "1", env=env) as store:
        async with calling(store) as http:
            login = {"email": new_email(), "password": PASSWORD}
            assert (await http.post("/users", json=login)).status_code == 201
            token = (await http.post("/auth/sessions", json=login)).json()["accessToken"]
            mine = await http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
            assert mine.json()["email"] == login["email"]
        await operator(store, "doctor")


async def test_process_that_hangs_in_a_transaction_releases_its_locks(
    plain_server: DebianPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this version too, which may be older than 17 and know no limit of a whole transaction."""
    monkeypatch.setattr(database, "TRANSACTION_TIMEOUT", 0.5)
    pool = database.create_pool(settings(plain_server, None, DB_SSLMODE="disable"))
    hung, other = await pool.acquire(), await pool.acquire()
    await hung.execute("CREATE TABLE of_one (id int PRIMARY KEY)")
    await hung.execute("BEGIN; INSERT INTO of_one VALUES (1)")
    await other.execute("INSERT INTO of_one VALUES (1); DROP TABLE of_one", timeout=10)
    pool.release(other)
    pool.discard(hung)
    await pool.close()


async def test_idle_leader_in_a_transaction_has_the_limit_of_its_lease(plain_server: DebianPostgres) -> None:
    address = database.dsn(database.url(settings(plain_server, None, DB_SSLMODE="disable")))
    async with lead(address, 4218) as session:
        ((limit,),) = await session.fetch("SHOW idle_in_transaction_session_timeout")
    assert limit == "1200ms"


async def test_foreign_authority_is_refused(server: DebianPostgres, tmp_path: Path) -> None:
    assert await refusal(server, new_certificates(tmp_path / "foreign")) == (
        f"The certificate of PostgreSQL at 127.0.0.1:{server.port} is not of the authority in DB_SSLROOTCERT: set "
        "DB_SSLROOTCERT to that of this server."
    )


async def test_expired_certificate_is_refused(server: DebianPostgres, certificates: Path, tmp_path: Path) -> None:
    folder = copied(certificates, tmp_path / "expired")
    replace_certificate(folder, _SERVER, expired=True)
    async with serving(server, certificates, folder):
        assert await refusal(server, certificates) == (
            f"The certificate of PostgreSQL at 127.0.0.1:{server.port} has expired: renew it, such as by "
            "`mkstore certs --renew`, and reload the server."
        )


async def test_certificate_of_another_host_is_refused(
    server: DebianPostgres, certificates: Path, tmp_path: Path
) -> None:
    folder = copied(certificates, tmp_path / "other")
    replace_certificate(folder, Subject("postgres", ("postgres.example",)))
    async with serving(server, certificates, folder):
        assert await refusal(server, certificates) == (
            f"The certificate of PostgreSQL at 127.0.0.1:{server.port} has another name: set DB_HOST to a name that it "
            "has, or make one with this name, such as by `mkstore certs --names`."
        )
        assert await server_version(server, certificates, DB_SSLMODE="verify-ca")  # the authority, and any name


async def test_server_without_tls_is_refused(plain_server: DebianPostgres, certificates: Path) -> None:
    assert await refusal(plain_server, certificates) == (
        f"PostgreSQL at 127.0.0.1:{plain_server.port} offers no TLS, and DB_SSLMODE is verify-full: set `ssl = on` in "
        "its configuration, or DB_SSLMODE to disable on a private network."
    )
    assert await server_version(plain_server, None)  # by default TLS is used if the server offers it


async def test_connection_without_tls_is_refused_by_a_server_that_requires_it(server: DebianPostgres) -> None:
    assert await refusal(server, None, DB_SSLMODE="disable") == (
        f"PostgreSQL at 127.0.0.1:{server.port} accepts no connection without TLS: set DB_SSLMODE to verify-full."
    )


async def test_certificate_can_be_the_login(server: DebianPostgres, certificates: Path) -> None:
    """With the method `cert` a role logs in by the name in its certificate; no password is needed."""
    await role(server, "certified")
    issue(certificates, "certified")
    mine = {"DB_USER": "certified", "DB_PASSWORD": "", **client(certificates, "certified")}
    assert await server_version(server, certificates, **mine)
    assert "requires a client certificate of this user" in await refusal(
        server, certificates, **mine | client(certificates, "users")
    )


# asyncpg 0.32 leaves its socket to the garbage collector if the server ends the connection during the login.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_missing_and_foreign_certificate_of_a_client_are_refused(
    server: DebianPostgres, certificates: Path, tmp_path: Path
) -> None:
    await role(server, "demanded")
    login = {"DB_USER": "demanded", "DB_PASSWORD": "demanded"}
    assert await refusal(server, certificates, **login) == (
        f"PostgreSQL at 127.0.0.1:{server.port} requires a client certificate of this user: set DB_SSLCERT and "
        "DB_SSLKEY."
    )
    foreign = new_certificates(tmp_path / "foreign")
    assert await refusal(server, certificates, **login, **client(foreign, "users")) == (
        f"PostgreSQL at 127.0.0.1:{server.port} refuses the certificate in DB_SSLCERT, which has expired or is of "
        "another authority: renew it, such as by `mkstore certs --renew`."
    )
    assert await server_version(server, certificates, **login, **client(certificates, "users"))
    gc.collect()


async def test_service_that_cannot_verify_its_database_ends_with_one_sentence(
    server: DebianPostgres, tmp_path: Path
) -> None:
    foreign = new_certificates(tmp_path / "foreign")
    async with run_service("payments", tmp_path, variables(server, foreign, DB_DATABASE="postgres")) as payments:
        assert await payments.wait_exit() not in {0, None}
        assert "is not of the authority in DB_SSLROOTCERT" in payments.text
        assert "Traceback" not in payments.text


async def test_migration_that_cannot_verify_the_database_ends_with_one_sentence(
    server: DebianPostgres, tmp_path: Path
) -> None:
    foreign = variables(server, new_certificates(tmp_path / "foreign"), DB_DATABASE="postgres")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alembic", "-c", "apps/payments/alembic.ini", "upgrade", "head"),
        env={"PATH": os.environ["PATH"], **foreign},
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, output = await process.communicate()
    assert process.returncode == 1
    assert output.decode().splitlines()[-1].startswith("The certificate of PostgreSQL at 127.0.0.1")
    assert b"Traceback" not in output


async def test_renewed_certificate_is_served_after_a_reload(
    server: DebianPostgres, certificates: Path, tmp_path: Path
) -> None:
    """Connections that are open go on; new ones get the new certificate of the same authority."""
    folder = copied(certificates, tmp_path / "renewed")
    replace_certificate(folder, _SERVER)
    pool = database.create_pool(settings(server, certificates))
    before = await pool.acquire()
    pid = await before.fetchval("SELECT pg_backend_pid()")
    assert await certificate_of(server) == in_file(certificates / "postgres.crt")
    async with serving(server, certificates, folder):
        assert await certificate_of(server) == in_file(folder / "postgres.crt")
        assert await before.fetchval("SELECT pg_backend_pid()") == pid
        after = await pool.acquire()
        assert await after.fetchval("SELECT pg_backend_pid()") != pid
    for connection in (before, after):
        pool.release(connection)
    await pool.close()


async def server_version(server: DebianPostgres, authority: Path | None, **others: str) -> int:
    """Connect as a service does, and return the version of the server."""
    connection = await connect(database.dsn(database.url(settings(server, authority, **others))))
    try:
        return int(connection.get_server_version().major)
    finally:
        await connection.close()


def client(folder: Path, name: str) -> dict[str, str]:
    return {"DB_SSLCERT": str(folder / f"{name}.crt"), "DB_SSLKEY": str(folder / f"{name}.key")}


def issue(folder: Path, name: str) -> None:
    certificate, key = Authority.read(folder).issue(Subject(name), 1)
    (folder / f"{name}.crt").write_bytes(certificate)
    (folder / f"{name}.key").write_bytes(key)


async def role(server: DebianPostgres, name: str) -> None:
    await server.administer(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
