"""Migrates the databases of the services; a cheap check skips those that are up to date."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg

from kit.connection import connect
from kit.errors import CannotStart
from kit.ops.revisions import newest_revision
from kit.schema_compatibility import READ_NOTE, works_with
from mkstore.services import ServiceSpec
from mkstore.stack import processes, upgrade
from mkstore.stack.managed_process import ProcessFailed

_POLL_INTERVAL = 0.02
_CONNECT_TIMEOUT = 5.0


async def migrate(work: Sequence[tuple[ServiceSpec, Mapping[str, str], Path]], *, timeout: float) -> None:  # noqa: ASYNC109 - the error has the log
    """Run `alembic upgrade head` for services with migrations, each with its environment and log.

    Raises `ProcessFailed` if one fails, or not all are done after `timeout` seconds.
    """
    first_log = work[0][2]
    process = processes.spawn(upgrade.command(), env=upgrade.environment(work), log=first_log, cwd=work[0][0].root)
    try:
        async with asyncio.timeout(timeout):
            while process.poll() is None:  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(_POLL_INTERVAL)
    except TimeoutError:
        raise ProcessFailed("migrations", f"were not done after {timeout:g} s", processes.tail(first_log)) from None
    finally:
        process.kill()
        process.wait()
    if process.returncode < 0:
        reason = f"were killed by {signal.Signals(-process.returncode).name}"
        raise ProcessFailed("migrations", reason, processes.tail(first_log))
    if process.returncode > 0:
        spec, _, log = work[process.returncode - 1]
        raise ProcessFailed(spec.database or spec.name, "could not be migrated", processes.tail(log))


async def is_newest(url: str, spec: ServiceSpec) -> bool:
    """Return whether the database at `url` has the newest schema, or a newer one that works with this code.

    Alembic would take seconds to answer, and the import of SQLAlchemy half a second of processor time at each start.
    Raises `OSError` or asyncpg's error if the database cannot be queried.
    """
    if spec.migrations is None:
        return False
    connection = await connect(url, timeout=_CONNECT_TIMEOUT)
    try:
        rows = await connection.fetch("SELECT version_num FROM alembic_version")
        current, note = [row["version_num"] for row in rows], await connection.fetchval(READ_NOTE)
        return works_with(current, note, newest_revision(spec.migrations.parent / "migrations"))
    except (CannotStart, asyncpg.UndefinedTableError):  # two newest revisions, or no migration has run
        return False
    finally:
        await connection.close()
