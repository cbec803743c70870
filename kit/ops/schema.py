"""How a service that owns a database starts: it waits for that, or says in one sentence why it cannot work."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.stdlib import get_logger

from kit.database import check_schema, is_away
from kit.errors import CannotStart

log = get_logger(__name__)

_PAUSE = 1.0


async def wait_for_database(pool: AsyncEngine, migrations: Path) -> None:
    """Return once the database is there; raises `CannotStart` when it refuses, or has not the schema of this code.

    While it waits, SIGINT and SIGTERM end the process at once.
    """
    with _signals_end_it():
        while True:
            try:
                return await check_schema(pool, migrations)
            except Exception as error:
                if not is_away(error):
                    if isinstance(error, DBAPIError):
                        raise CannotStart(f"The database refuses this service: {error.orig}.") from error
                    raise
                log.warning("waiting for the database", reason=str(error) or type(error).__name__)
            await asyncio.sleep(_PAUSE)


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """Let a signal do what it does by default: uvicorn would only note it, and go on waiting for the start."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
