"""A process that runs only the outbox relay: `python -m tests.support.relay_process DSN NATS STREAM`."""

import asyncio
import sys

from sqlalchemy import make_url

from contracts.streams import Stream
from kit.messaging.broker import Broker
from kit.outbox.relay import Relay
from kit.runtime.logging import configure_logging


async def main(database: str, nats: str, stream: str) -> None:
    """Relay for ever."""
    told = Stream.model_validate_json(stream)
    broker = Broker(nats, name="a replica", streams=[told])
    await broker.start()
    relay = Relay(make_url(database), broker, "tests", told)
    await relay.start()
    await asyncio.Event().wait()


configure_logging("INFO", "console")
asyncio.run(main(*sys.argv[1:]))
