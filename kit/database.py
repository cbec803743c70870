"""PostgreSQL: one transaction as an object, and what it means when the server is away."""

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError, InterfaceError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from kit.errors import CannotStart, NonRetryable, OutcomeUnknown, Unavailable
from kit.runtime.failpoints import AFTER_COMMIT, BEFORE_COMMIT, failpoint
from kit.runtime.settings import DatabaseSettings

DATABASE = "database"

_AWAY = ("08", "53", "57P")
"""SQLSTATE classes of a server that goes, comes or has no room: connection exception, resources, operator."""


_UNACCEPTABLE = ("22", "23")
"""SQLSTATE classes of what is wrong with the data: data exception, integrity constraint violation."""


class RefusedByDatabase(NonRetryable):
    """What was to be written does not fit the tables or breaks a constraint, and always will."""

    def __init__(self, error: DBAPIError) -> None:
        # Not the server's own words: they quote the values, such as somebody's email.
        cause = getattr(error.orig, "__cause__", None)
        constraint = getattr(cause, "constraint_name", None)
        super().__init__(
            f"The database refuses what was to be written: {type(cause or error).__name__}"
            f" (SQLSTATE {_state(error)}){f', constraint {constraint}' if constraint else ''}."
        )


class SchemaOutdated(CannotStart):
    """The database's schema is not the one that this code expects."""

    def __init__(self, found: str | None, expected: str | None, folder: Path) -> None:
        super().__init__(
            f"The database is at revision {found or 'none'} and this code needs {expected}. "
            f"Run: alembic -c {folder.parent.parent.name}/{folder.parent.name}/alembic.ini upgrade head"
        )


def url(settings: DatabaseSettings) -> URL:
    """Return the address of the service's own database, for asyncpg under SQLAlchemy."""
    return URL.create(
        "postgresql+asyncpg",
        settings.db_user,
        settings.db_password.get_secret_value(),
        settings.db_host,
        settings.db_port,
        settings.db_database,
    )


def engine(settings: DatabaseSettings) -> AsyncEngine:
    """Make a pool of connections; it connects when it is first used, and anew after the server was away."""
    return create_async_engine(
        url(settings),
        pool_size=settings.db_pool_size,
        max_overflow=0,
        pool_timeout=2,
        hide_parameters=True,  # an error that is logged would show a user's email, or a password's hash
        connect_args={"timeout": 2, "command_timeout": 10, "server_settings": {"application_name": "mkstore"}},
    )


def is_away(error: BaseException) -> bool:
    """Tell whether `error` says that the server is away, rather than that it disagrees."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, InterfaceError) or _state(error).startswith(_AWAY)
    return isinstance(error, OSError | PoolTimeout)  # OSError: refused, reset, unreachable; TimeoutError is one too


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _said_by(error: BaseException) -> Exception | None:
    """Return what `error` means to those who know no database; None where it is not the database's."""
    if is_away(error):
        return Unavailable(DATABASE)
    # By the code alone: SQLAlchemy has no DataError for what asyncpg raises.
    if isinstance(error, DBAPIError) and _state(error).startswith(_UNACCEPTABLE):
        return RefusedByDatabase(error)
    return None


class Transaction:
    """Work in one transaction: `async with` commits at its end and undoes on an error.

    Raises `Unavailable` when the server is away, `OutcomeUnknown` when it went away during the commit, and
    `RefusedByDatabase` when it will never take what was to be written.
    """

    def __init__(self, pool: AsyncEngine) -> None:
        self._pool = pool
        self._connection: AsyncConnection

    async def __aenter__(self) -> Self:
        try:
            self._connection = await self._pool.connect()
        except Exception as error:
            # Whatever a server says to somebody who wants in and is not let in, the work can be done later.
            if is_away(error) or isinstance(error, DBAPIError):
                raise Unavailable(DATABASE) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._commit()
        finally:
            await self._connection.close()  # undoes what is not committed
        if error is not None and (said := _said_by(error)) is not None:
            raise said from error

    async def _commit(self) -> None:
        failpoint(BEFORE_COMMIT)
        try:
            await self._connection.commit()
        except Exception as error:
            if is_away(error):  # the commit may have arrived and only its answer be lost
                raise OutcomeUnknown(DATABASE) from error
            if (said := _said_by(error)) is not None:  # a constraint that is looked at only now
                raise said from error
            raise
        failpoint(AFTER_COMMIT)


def newest_revision(migrations: Path) -> str:
    """Return the last of the revisions, whose files are numbered; asking alembic costs a start 0.1 s."""
    return max(file.stem.partition("_")[0] for file in (migrations / "versions").glob("*.py"))


async def check_schema(pool: AsyncEngine, migrations: Path) -> None:
    """Raise `SchemaOutdated` unless the database has the newest revision among `migrations`; `OSError` when away."""
    expected = newest_revision(migrations)
    async with pool.connect() as connection:
        try:
            found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        except ProgrammingError:  # no such table: nothing was ever migrated
            found = None
    if found != expected:
        raise SchemaOutdated(found, expected, migrations)


async def ping(pool: AsyncEngine) -> None:
    """Make one round trip to the server; raises when it is away."""
    async with pool.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def now(pool: AsyncEngine) -> datetime:
    """Return the server's time."""
    async with pool.connect() as connection:
        found: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return found
