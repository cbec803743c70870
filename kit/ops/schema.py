"""The schema revision of a service's database, compared with the newest migration, at start and on request."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.stdlib import get_logger

from kit.database import is_unavailable
from kit.errors import CannotStart
from kit.ops.revisions import known_revisions, newest_revision
from kit.runtime.tls import TlsFailed
from kit.schema_compatibility import READ_NOTE, works_with

log = get_logger(__name__)

_RETRY_DELAY = 1.0


class SchemaOutdated(CannotStart):
    """The database does not have the schema revision that this code needs."""

    def __init__(self, current: str | None, expected: str, migrations: Path) -> None:
        super().__init__(
            f"The database is at revision {current or 'none'} and this code needs {expected}. "
            f"Run: alembic -c {migrations.parent.parent.name}/{migrations.parent.name}/alembic.ini upgrade head"
        )


class SchemaTooNew(CannotStart):
    """A newer version has migrated the database, and the schema does not work with this code any more."""

    def __init__(self, current: str, expected: str) -> None:
        super().__init__(
            f"The database is at revision {current}, which does not work with this code, of {expected}: use the "
            "version that has migrated it."
        )


async def check_schema(pool: AsyncEngine, migrations: Path) -> None:
    """Check that the database has the newest revision among `migrations`, or a newer one that works with this code.

    Raises `SchemaOutdated` or `SchemaTooNew` if it has not, and the driver's error, or `OSError`, if it cannot be
    queried.
    """
    expected = newest_revision(migrations)
    async with pool.connect() as connection:
        note = (await connection.execute(text(READ_NOTE))).scalar()
        try:
            current = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()
        except ProgrammingError:  # no such table: no migration has run
            current = []
    if works_with(current, note, expected):
        return
    if current and not known_revisions(migrations).issuperset(current):
        raise SchemaTooNew(", ".join(sorted(current)), expected)
    raise SchemaOutdated(", ".join(sorted(current)), expected, migrations)


async def wait_for_database(pool: AsyncEngine, migrations: Path) -> None:
    """Wait until the database is available and check its schema.

    Raises `CannotStart` if the database rejects the connection or its schema does not work with this code. SIGINT and
    SIGTERM end the process at once meanwhile.
    """
    with _default_signal_handlers():
        while True:
            try:
                return await check_schema(pool, migrations)
            except TlsFailed as error:
                raise CannotStart(str(error)) from error
            except Exception as error:
                if not is_unavailable(error):
                    if isinstance(error, DBAPIError):
                        raise CannotStart(f"The database rejects this service: {error.orig}.") from error
                    raise
                host, port = pool.url.query.get("host", pool.url.host), pool.url.query.get("port", pool.url.port)
                server = f"{host}:{port} (DB_HOST, DB_PORT)"
                log.warning("waiting for the database", server=server, reason=str(error) or type(error).__name__)
            await asyncio.sleep(_RETRY_DELAY)


@contextmanager
def _default_signal_handlers() -> Iterator[None]:
    """Let signals end the process: uvicorn would only record them and wait for the start to finish."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
