"""Brings the services' databases to the newest schema, all at once; one that is there already costs next to nothing."""

import ast
import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg

from mkstore.stack import processes
from mkstore.stack.managed_process import PartFailedError
from mkstore.stack.service_process import ServiceSpec

_POLL = 0.02


async def migrate(work: Sequence[tuple[ServiceSpec, Mapping[str, str], Path]], *, within: float) -> None:
    """Run `alembic upgrade head` for services that have migrations, each with its environment and log, side by side.

    Raises:
        PartFailedError: one failed, or was not done after `within` seconds; none of them runs any more.

    """
    running = [(spec, log, _start(spec, env, log)) for spec, env, log in work]
    try:
        async with asyncio.timeout(within):
            for spec, log, process in running:
                while process.poll() is None:  # noqa: ASYNC110 - a process sets no event
                    await asyncio.sleep(_POLL)
                if process.returncode != 0:
                    reason = f"could not be migrated: alembic ended with exit code {process.returncode}"
                    raise PartFailedError(spec.database or spec.name, reason, processes.tail(log))
    except TimeoutError:
        raise PartFailedError(
            "migrations", f"were not done after {within:g} s", processes.tail(running[0][1])
        ) from None
    finally:
        for _, _, process in running:
            process.kill()
            process.wait()


async def is_newest(url: str, spec: ServiceSpec) -> bool:
    """Tell whether the database at `url` surely has the newest schema; alembic itself takes seconds to say so.

    Raises:
        asyncpg.PostgresError: the database refuses; OSError: nobody listens there.

    """
    newest = spec.migrations and _newest(spec.migrations.parent / "migrations" / "versions")
    if not newest:
        return False
    connection = await asyncpg.connect(url)
    try:
        return {
            row["version_num"] for row in await connection.fetch("SELECT version_num FROM alembic_version")
        } == newest
    except asyncpg.UndefinedTableError:
        return False
    finally:
        await connection.close()


def _newest(versions: Path) -> set[str]:
    """Return the revisions that no other one follows, or none when a file is not as plain as alembic writes it."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for file in versions.glob("*.py"):
        found = _constants(file)
        revision, before = found.get("revision"), found.get("down_revision", ...)
        if not isinstance(revision, str) or not isinstance(before, str | None) or found.get("depends_on"):
            return set()
        revisions.add(revision)
        followed |= {before} if before else set()
    return revisions - followed


def _constants(file: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Assign):
            names = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            names = [statement.target]
        else:
            continue
        if isinstance(statement.value, ast.Constant):
            found |= {name.id: statement.value.value for name in names if isinstance(name, ast.Name)}
    return found


def _start(spec: ServiceSpec, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "alembic", "--config", str(spec.migrations), "upgrade", "head"]
    return processes.spawn(command, env=env, log=log, cwd=spec.root)
