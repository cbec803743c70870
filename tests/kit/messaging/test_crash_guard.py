"""A message that kills the process which handles it is given up, and takes no other with it."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from nats.js.errors import NotFoundError
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from contracts.streams import DEAD_LETTERS
from kit.inbox import inbox_table
from kit.messaging.broker import Broker
from mkstore.stack.servers import NatsServer, PostgresServer, create_databases
from tests.conftest import ROOT
from tests.kit.messaging.test_batches import BATCHES, is_empty, publish
from tests.support.payment_commands import new_commands
from tests.support.provisioning import ProvisionedBroker

_METADATA = MetaData()
inbox_table(_METADATA)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Run a nats-server for this test only: its stream has the subjects of the payments service."""
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def broker(server: NatsServer) -> AsyncIterator[Broker]:
    broker = ProvisionedBroker(server.url, streams=[BATCHES, DEAD_LETTERS])
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def database(postgres_server: PostgresServer) -> str:
    name = f"crashes_{uuid4().hex}"
    await create_databases(postgres_server.url, [name])
    engine = create_async_engine(postgres_server.url_of(name).replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        await connection.run_sync(_METADATA.create_all)
    await engine.dispose()
    return postgres_server.url_of(name)


async def run_until_killed(server: NatsServer, poison: str, file: Path, database: str) -> bool:
    """Run the consumer until it dies, or until nothing is left; return whether it has died."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.poisoned_consumer"),
        *(server.url, BATCHES.model_dump_json(), poison, str(file), database),
        cwd=ROOT,
    )
    broker = ProvisionedBroker(server.url, streams=[BATCHES])
    await broker.connect()
    try:
        async with asyncio.timeout(60):
            while process.returncode is None:
                if await is_empty(broker):
                    return False
                await asyncio.sleep(0.05)
        return True
    finally:
        await broker.stop()
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("size", [1, 20])
async def test_command_that_kills_its_process_is_given_up(
    broker: Broker, server: NatsServer, database: str, tmp_path: Path, size: int
) -> None:
    commands, file = new_commands(size), tmp_path / "recorded"
    poison = commands[size // 2]
    await publish(broker, *commands)
    deaths = 0
    while await run_until_killed(server, str(poison.id), file, database):
        deaths += 1
        assert deaths <= 5
    letter = await dead_letter(broker, poison.address)
    assert letter["Dead-Reason"] == "ProcessDied"
    assert letter["Dead-Detail"] == "the process that handled it died 2 times"
    recorded = Counter(file.read_text().split() if file.exists() else ())
    assert recorded.keys() == {str(each.id) for each in commands if each is not poison}
    connection = await asyncpg.connect(database)
    kept = await connection.fetch("SELECT message_id, begun FROM unfinished_messages")
    await connection.close()
    assert [(row["message_id"].rpartition(".")[2], row["begun"]) for row in kept] == [(str(poison.id), 3)]


async def dead_letter(broker: Broker, subject: str) -> dict[str, str]:
    try:
        letter = await broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{subject}")
    except NotFoundError:
        return {}
    return dict(letter.headers or {})
