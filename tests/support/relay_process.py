"""A process that runs only the outbox relay: `python -m tests.support.relay_process DATABASE_URL NATS_URL STREAM`."""

import asyncio
import sys

from sqlalchemy import make_url

from contracts.streams import Stream
from kit.outbox.relay import Relay
from kit.runtime.logging import configure_logging
from tests.support.provisioning import ProvisionedBroker


async def main(database_url: str, nats_url: str, stream_json: str) -> None:
    """Relay until the process is killed."""
    stream = Stream.model_validate_json(stream_json)
    broker = ProvisionedBroker(nats_url, name="a replica", streams=[stream])
    await broker.start()
    relay = Relay(make_url(database_url), broker, "tests", stream)
    await relay.start()
    await asyncio.Event().wait()


configure_logging("INFO", "console")
asyncio.run(main(*sys.argv[1:]))
