"""A process that consumes batches and dies of one command.

`python -m tests.support.poisoned_consumer NATS_URL STREAM POISON FILE [DATABASE_URL]`: it appends the ids of the
commands that it has handled to FILE, one a line, and kills itself when its handler gets the command POISON. With a
database it gives up a message after two deaths.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from sqlalchemy import make_url

from contracts.consumers import Durable
from contracts.payments import CreatePayment, CreatePayments
from contracts.streams import DEAD_LETTERS, Stream
from kit.crash_count import CrashCount
from kit.database import pool_of
from kit.messaging.batches import Received
from kit.messaging.consumers import DurableRouter
from kit.messaging.delivery.crash_guard import CRASH_GUARD, CrashGuard
from kit.runtime.depends import DEPENDENCIES, Provided
from kit.runtime.logging import configure_logging
from tests.support.provisioning import ProvisionedBroker


class Target:
    """The dependencies of the handler."""

    def __init__(self, poison: str, file: Path) -> None:
        self.poison = poison
        self.file = file


async def main(nats_url: str, stream_json: str, poison: str, file: str, database_url: str = "") -> None:
    """Consume until the process is killed."""
    stream = Stream.model_validate_json(stream_json)
    router = DurableRouter(ack_wait=1)

    @router.consume_batch(Durable("tests-poisoned", CreatePayments, stream))
    async def handle(
        commands: Sequence[Received[CreatePayment]],
        poison: Annotated[str, Provided("poison")],
        file: Annotated[Path, Provided("file")],
    ) -> None:
        if any(str(each.message.id) == poison for each in commands):
            os.kill(os.getpid(), signal.SIGKILL)
        with file.open("a") as out:
            out.write("".join(f"{each.message.id}\n" for each in commands))

    broker = ProvisionedBroker(nats_url, name="tests", streams=[stream, DEAD_LETTERS])
    broker.context.set_global(DEPENDENCIES, Target(poison, Path(file)))
    if database_url:
        pool = pool_of(make_url(database_url), 2)
        broker.context.set_global(CRASH_GUARD, CrashGuard(partial(CrashCount, pool), limit=2))
    broker.include_router(router)
    await broker.start()
    await asyncio.Event().wait()


configure_logging("INFO", "console")
asyncio.run(main(*sys.argv[1:]))
