"""PostgreSQL: one transaction as an object, and what its errors mean to the caller."""

from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import asyncpg
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kit.connection import connect, servers_of, several, ssl_parameters
from kit.connection_pool import COMMAND_TIMEOUT, CONNECT_TIMEOUT, SERVER_SETTINGS, ConnectionPool
from kit.errors import NonRetryable, OutcomeUnknown, Unavailable
from kit.runtime.failpoints import AFTER_COMMIT, BEFORE_COMMIT, failpoint
from kit.runtime.settings import DatabaseSettings
from kit.runtime.spans import are_recorded
from kit.traced_connection import TracedConnection

DATABASE = "database"
"""Name of PostgreSQL in refusals."""

_UNAVAILABLE = ("08", "25P03", "25P04", "53", "57P")
"""SQLSTATE classes: connection exception, limits of a transaction, insufficient resources, operator intervention."""

_INVALID_DATA = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""


_CHECK_CONNECTIONS = 2

TRANSACTION_TIMEOUT = 10.0
"""Seconds after which the server rolls back the transaction of a process that hangs, and releases its locks."""


class RefusedByDatabase(NonRetryable):
    """A write that breaks a column type or a constraint, now and on every retry."""

    def __init__(self, error: asyncpg.PostgresError) -> None:
        # Without the server's message: it quotes values, such as an email.
        constraint = f", constraint {error.constraint_name}" if error.constraint_name else ""
        super().__init__(
            f"The database refuses this write: {type(error).__name__} (SQLSTATE {error.sqlstate}){constraint}."
        )


def url(settings: DatabaseSettings) -> URL:
    """Return the URL of the service's database, for asyncpg under SQLAlchemy.

    Of several servers, connections go to the one that accepts writes: the primary, also after a promotion.
    """
    login = ("postgresql+asyncpg", settings.db_user, settings.db_password.get_secret_value())
    tls = ssl_parameters(settings.db_sslmode, settings.db_sslrootcert, settings.db_sslcert, settings.db_sslkey)
    servers = servers_of(settings.db_host, settings.db_port)
    if len(servers) > 1:
        return URL.create(*login, None, None, settings.db_database, several(servers) | tls)
    return URL.create(*login, servers[0].host, int(servers[0].port), settings.db_database, tls)


def dsn(url: URL) -> str:
    """Return the address for `kit.connection.connect` and the programs of PostgreSQL, with the password."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def engine_at(url: URL, **options: Any) -> AsyncEngine:
    """Create SQLAlchemy's engine for the database at `url`; `connect_args` are options of `kit.connection.connect`."""
    connect_args = options.pop("connect_args", {})
    # SQLAlchemy would pass the parameters of TLS as arguments, which asyncpg does not know.
    return create_async_engine(url, async_creator=partial(connect, dsn(url), **connect_args), **options)


def create_pool(settings: DatabaseSettings) -> ConnectionPool:
    """Create the connection pool of a service; it connects on first use, and again after the server was unavailable."""
    return pool_of(url(settings), settings.db_pool_size)


def pool_of(address: URL, size: int) -> ConnectionPool:
    """Create a pool for the database at `address`."""
    options: dict[str, Any] = {
        "timeout": CONNECT_TIMEOUT,
        "command_timeout": COMMAND_TIMEOUT,
        "transaction_timeout": TRANSACTION_TIMEOUT,
        "server_settings": SERVER_SETTINGS,
        "connection_class": TracedConnection if are_recorded() else asyncpg.Connection,
    }
    return ConnectionPool(partial(connect, dsn(address), **options), size)


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    """Create SQLAlchemy's engine for what is not on the path of a message: checks, metrics, cleaning."""
    return engine_at(
        url(settings),
        pool_size=_CHECK_CONNECTIONS,
        max_overflow=0,
        pool_timeout=2,
        pool_pre_ping=True,  # after a restart or a promotion each idle connection would fail one check
        hide_parameters=True,  # a logged error would show an email or a password hash
        connect_args={
            "timeout": CONNECT_TIMEOUT,
            "command_timeout": COMMAND_TIMEOUT,
            "transaction_timeout": TRANSACTION_TIMEOUT,
            "server_settings": SERVER_SETTINGS,
        },
    )


def is_unavailable(error: BaseException) -> bool:
    """Return whether `error` means that the server is unavailable, rather than that it rejects the statement."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(_UNAVAILABLE)
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        # Without a state an internal error is asyncpg's own, as below.
        ended = isinstance(error, InterfaceError) or (isinstance(error, InternalError) and not state)
        return ended or error.connection_invalidated or state.startswith(_UNAVAILABLE)
    # `InternalClientError`: the server has ended the session, and the end of the connection has not arrived yet.
    # `OSError`: refused, reset, unreachable; a timeout is one too.
    return isinstance(error, OSError | PoolTimeout | asyncpg.InterfaceError | asyncpg.InternalClientError)


def _translate(error: BaseException) -> Exception | None:
    """Return the error that callers handle; None if `error` needs no translation."""
    if is_unavailable(error):
        return Unavailable(DATABASE)
    if isinstance(error, asyncpg.PostgresError) and str(error.sqlstate or "").startswith(_INVALID_DATA):
        return RefusedByDatabase(error)
    return None


class Transaction:
    """One transaction: `async with` commits at the end of the block and rolls back on an error.

    With `autocommit` each statement commits: reads save the two round trips of a transaction.

    Raises `Unavailable` if the server is unavailable, `OutcomeUnknown` if the connection is lost during the commit, and
    `RefusedByDatabase` if the data is invalid.
    """

    def __init__(self, pool: ConnectionPool, *, autocommit: bool = False) -> None:
        self._pool = pool
        self._autocommit = autocommit
        self._connection: asyncpg.Connection

    async def __aenter__(self) -> Self:
        try:
            self._connection = await self._pool.acquire()
        except Exception as error:
            # If the server rejects the connection, for any reason, the work can be done later.
            if is_unavailable(error) or isinstance(error, asyncpg.PostgresError):
                self._pool.discard_idle()
                raise Unavailable(DATABASE) from error
            raise
        if not self._autocommit:
            try:
                await self._connection.execute("BEGIN")
            except BaseException as error:
                await self._roll_back(error)
                if (translated := _translate(error)) is not None:
                    raise translated from error
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if error is None:
            await self._commit()
            return
        await self._roll_back(error)
        if (translated := _translate(error)) is not None:
            raise translated from error

    async def _roll_back(self, error: BaseException) -> None:
        """Roll back and return the connection to the pool, or close it: both undo what is not committed."""
        unavailable = is_unavailable(error)
        if unavailable:
            self._pool.discard_idle()
        if unavailable or not isinstance(error, Exception):  # a cancelled statement may still run
            self._pool.discard(self._connection)
            return
        try:
            if not self._autocommit:
                await self._connection.execute("ROLLBACK")
        except BaseException as failure:
            self._pool.discard(self._connection)
            if not is_unavailable(failure):
                raise
        else:
            self._pool.release(self._connection)

    async def _commit(self) -> None:
        if self._autocommit:
            self._pool.release(self._connection)
            return
        failpoint(BEFORE_COMMIT)
        try:
            outcome = await self._connection.execute("COMMIT")
        except BaseException as error:
            await self._roll_back(error)
            if is_unavailable(error):  # the commit may have succeeded, and only its reply was lost
                raise OutcomeUnknown(DATABASE) from error
            if (translated := _translate(error)) is not None:  # a deferred constraint
                raise translated from error
            raise
        self._pool.release(self._connection)
        if outcome != "COMMIT":
            raise RuntimeError("rolled back: a statement had failed, and its error was not raised")
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
