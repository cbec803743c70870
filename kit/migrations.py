"""The body of each service's Alembic `env.py`: migrate one database to the schema of its models."""

import asyncio

from alembic import context
from sqlalchemy import URL, Connection, MetaData, text

from kit.database import engine_at
from kit.runtime.tls import TlsFailed

_LOCK = 4_217_000_001
"""Advisory lock, so that two concurrent migrations of one database run one after the other."""


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
    async with engine.begin() as connection:
        await connection.run_sync(_migrate, metadata)
    await engine.dispose()


def _migrate(connection: Connection, metadata: MetaData) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()
