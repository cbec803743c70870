"""Migrates the databases of the services in parallel; a cheap check skips those that are up to date."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mkstore.services import ServiceSpec
from mkstore.stack import processes
from mkstore.stack.managed_process import ProcessFailed

_POLL_INTERVAL = 0.02


async def migrate(work: Sequence[tuple[ServiceSpec, Mapping[str, str], Path]], *, timeout: float) -> None:  # noqa: ASYNC109 - the error has the log
    """Run `alembic upgrade head` in parallel for services with migrations, each with its environment and log.

    Raises `ProcessFailed` if one fails, or not all are done after `timeout` seconds; the others are then killed.
    """
    running = [(spec, log, _start(spec, env, log)) for spec, env, log in work]
    try:
        async with asyncio.timeout(timeout):
            for spec, log, process in running:
                while process.poll() is None:  # noqa: ASYNC110 - a process sets no event
                    await asyncio.sleep(_POLL_INTERVAL)
                if process.returncode != 0:
                    reason = f"could not be migrated: alembic ended with exit code {process.returncode}"
                    raise ProcessFailed(spec.database or spec.name, reason, processes.tail(log))
    except TimeoutError:
        raise ProcessFailed("migrations", f"were not done after {timeout:g} s", processes.tail(running[0][1])) from None
    finally:
        for _, _, process in running:
            process.kill()
            process.wait()


async def is_newest(url: str, spec: ServiceSpec) -> bool:
    """Return whether the database at `url` has the newest schema; Alembic would take seconds to answer.

    Raises `OSError` if the database cannot be queried.
    """
    from sqlalchemy import make_url  # noqa: PLC0415 - slow to import
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - same reason
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - same reason

    from kit.errors import CannotStart  # noqa: PLC0415 - same reason
    from kit.ops.schema import check_schema  # noqa: PLC0415 - same reason

    if spec.migrations is None:
        return False
    pool = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    try:
        await check_schema(pool, spec.migrations.parent / "migrations")
    except CannotStart:
        return False
    except DBAPIError as error:
        raise OSError(str(error.orig)) from error
    finally:
        await pool.dispose()
    return True


def _start(spec: ServiceSpec, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "alembic", "--config", str(spec.migrations), "upgrade", "head"]
    return processes.spawn(command, env=env, log=log, cwd=spec.root)
