"""PostgreSQL: one transaction as an object, and what its errors mean to the caller."""

from datetime import datetime
from types import TracebackType
from typing import Self

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from kit.errors import NonRetryable, OutcomeUnknown, Unavailable
from kit.runtime.failpoints import AFTER_COMMIT, BEFORE_COMMIT, failpoint
from kit.runtime.settings import DatabaseSettings

DATABASE = "database"
"""Name of PostgreSQL in refusals."""

_UNAVAILABLE = ("08", "53", "57P")
"""SQLSTATE classes: connection exception, insufficient resources, operator intervention."""

_INVALID_DATA = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""


class RefusedByDatabase(NonRetryable):
    """A write that breaks a column type or a constraint, now and on every retry."""

    def __init__(self, error: DBAPIError) -> None:
        # Without the server's message: it quotes values, such as an email.
        cause = getattr(error.orig, "__cause__", None)
        constraint = getattr(cause, "constraint_name", None)
        super().__init__(
            f"The database refuses this write: {type(cause or error).__name__}"
            f" (SQLSTATE {_state(error)}){f', constraint {constraint}' if constraint else ''}."
        )


def url(settings: DatabaseSettings) -> URL:
    """Return the URL of the service's database, for asyncpg under SQLAlchemy."""
    return URL.create(
        "postgresql+asyncpg",
        settings.db_user,
        settings.db_password.get_secret_value(),
        settings.db_host,
        settings.db_port,
        settings.db_database,
    )


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    """Create a connection pool; it connects on first use, and reconnects after the server was unavailable."""
    return create_async_engine(
        url(settings),
        pool_size=settings.db_pool_size,
        max_overflow=0,
        pool_timeout=2,
        hide_parameters=True,  # a logged error would show an email or a password hash
        connect_args={"timeout": 2, "command_timeout": 10, "server_settings": {"application_name": "mkstore"}},
    )


def is_unavailable(error: BaseException) -> bool:
    """Return whether `error` means that the server is unavailable, rather than that it rejects the statement."""
    if isinstance(error, DBAPIError):
        state = _state(error)
        # Without a state an internal error is asyncpg's own: the server has ended the session, and the end of the
        # connection has not arrived yet.
        ended = isinstance(error, InterfaceError) or (isinstance(error, InternalError) and not state)
        return ended or error.connection_invalidated or state.startswith(_UNAVAILABLE)
    return isinstance(error, OSError | PoolTimeout)  # refused, reset, unreachable; TimeoutError is an OSError


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _translate(error: BaseException) -> Exception | None:
    """Return the error that callers handle; None if `error` needs no translation."""
    if is_unavailable(error):
        return Unavailable(DATABASE)
    # By SQLSTATE alone: SQLAlchemy does not map asyncpg's data errors to its DataError.
    if isinstance(error, DBAPIError) and _state(error).startswith(_INVALID_DATA):
        return RefusedByDatabase(error)
    return None


class Transaction:
    """One transaction: `async with` commits at the end of the block and rolls back on an error.

    Raises `Unavailable` if the server is unavailable, `OutcomeUnknown` if the connection is lost during the commit, and
    `RefusedByDatabase` if the data is invalid.
    """

    def __init__(self, pool: AsyncEngine) -> None:
        self._pool = pool
        self._connection: AsyncConnection

    async def __aenter__(self) -> Self:
        try:
            self._connection = await self._pool.connect()
        except Exception as error:
            # If the server rejects the connection, for any reason, the work can be done later.
            if is_unavailable(error) or isinstance(error, DBAPIError):
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
            await self._close()
        if error is not None and (translated := _translate(error)) is not None:
            raise translated from error

    async def _close(self) -> None:
        """Return the connection to the pool; what is not committed is rolled back."""
        try:
            await self._connection.close()
        except DBAPIError as error:
            if not is_unavailable(error):
                raise  # otherwise the server has rolled back, and the pool drops the connection

    async def _commit(self) -> None:
        failpoint(BEFORE_COMMIT)
        try:
            await self._connection.commit()
        except Exception as error:
            if is_unavailable(error):  # the commit may have succeeded, and only its reply was lost
                raise OutcomeUnknown(DATABASE) from error
            if (translated := _translate(error)) is not None:  # a deferred constraint
                raise translated from error
            raise
        failpoint(AFTER_COMMIT)


async def ping(pool: AsyncEngine) -> None:
    """Make one round trip to the server. Raises the driver's error, or `OSError`, if it fails."""
    async with pool.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def server_time(pool: AsyncEngine) -> datetime:
    """Return the current time of the server."""
    async with pool.connect() as connection:
        time: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return time
