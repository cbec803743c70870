"""What alembic's `env.py` of every service does: bring one database to the schema of its models."""

import asyncio

from alembic import context
from sqlalchemy import URL, Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine

_LOCK = 4_217_000_001
"""Two migrations of one database at once would tread on each other: the second waits for this advisory lock."""


def run(address: URL, metadata: MetaData) -> None:
    """Run alembic's command against the database at `address`; with `--sql` print what it would do."""
    if context.is_offline_mode():
        context.configure(url=address, target_metadata=metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
    else:
        asyncio.run(_online(address, metadata))


async def _online(address: URL, metadata: MetaData) -> None:
    engine = create_async_engine(address)
    async with engine.begin() as connection:
        await connection.run_sync(_migrate, metadata)
    await engine.dispose()


def _migrate(connection: Connection, metadata: MetaData) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()
