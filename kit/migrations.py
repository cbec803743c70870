"""The body of each service's Alembic `env.py`: migrate one database to the schema of its models.

A migration that leaves the schema usable for older code names it: `compatible_with = "0005"` beside its revision says
that code which expects 0005 works after it. Without the constant only the code of that revision does. The database
keeps this as a note, so that a process of the older version still starts.
"""

import asyncio
import sys
from collections.abc import Sequence

from alembic import context
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, MetaData, text
from sqlalchemy.exc import DBAPIError

from kit import schema_compatibility
from kit.database import engine_at
from kit.runtime.tls import TlsFailed

_LOCK = 4_217_000_001
"""Advisory lock, so that two concurrent migrations of one database run one after the other."""
_LOCK_TIMEOUT = 1_000
"""Milliseconds to wait for a lock: every statement on the table that comes later waits behind the migration."""
_ATTEMPTS, _RETRY_DELAY = 300, 1.0
"""Attempts to get all locks, and the seconds between two: a backup reads the tables for minutes."""
_LOCK_NOT_AVAILABLE = "55P03"


def run(url: URL, metadata: MetaData) -> None:
    """Run the current Alembic command against the database at `url`; with `--sql`, print the SQL instead."""
    if context.is_offline_mode():
        context.configure(url=url, target_metadata=metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
    else:
        try:
            asyncio.run(_online(url, metadata))
        except TlsFailed as error:
            raise SystemExit(str(error)) from error


async def _online(url: URL, metadata: MetaData) -> None:
    engine = engine_at(url)
    try:
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                async with engine.begin() as connection:
                    await connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT}"))
                    await connection.run_sync(_migrate, metadata)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE or not attempts_left:
                    raise
            else:
                return
            sys.stderr.write("A transaction of another process has a lock: the migration is tried again.\n")
            await asyncio.sleep(_RETRY_DELAY)
    finally:
        await engine.dispose()


def _migrate(connection: Connection, metadata: MetaData) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    migrations = context.get_context()
    script = _script_of(migrations)
    if _is_newer(connection, migrations.get_current_heads(), script):
        sys.stderr.write("The database has a newer schema, which works with this version: nothing is migrated.\n")
        return
    with context.begin_transaction():
        context.run_migrations()
        _leave_note(connection, migrations.get_current_heads(), script)


def _script_of(migrations: MigrationContext) -> ScriptDirectory:
    if migrations.environment_context is None:
        raise RuntimeError("Alembic runs this module.")
    return migrations.environment_context.script


def _is_newer(connection: Connection, current: Sequence[str], script: ScriptDirectory) -> bool:
    """Return whether a newer version has migrated the database, and this one works with that."""
    known = {revision.revision for revision in script.walk_revisions()}
    if known.issuperset(current):
        return False
    note = connection.execute(text(schema_compatibility.READ_NOTE)).scalar()
    return schema_compatibility.works_with(current, note, script.get_current_head() or "")


def _leave_note(connection: Connection, current: Sequence[str], script: ScriptDirectory) -> None:
    """Write into the database which code works with it: what every applied migration allows."""
    if not current:
        return
    applied = script.iterate_revisions(current[0], "base")
    oldest = max(getattr(each.module, "compatible_with", each.revision) for each in applied)
    connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{schema_compatibility.note(oldest)}'"))
