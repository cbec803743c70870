"""Streams and durable consumers of tests, made with an operator's login as `mkstore provision` makes them."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from nats.errors import Error as NatsError

from contracts.streams import Stream
from kit.messaging import streams as jetstreams
from kit.messaging.broker import Broker, durables
from kit.ops import provisioning

_RETRY_DELAY = 0.1


def provision(url: str) -> None:
    """Provision a server for all services; also inside an event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, provisioning.provision(url, provisioning.Sizes())).result()


class ProvisionedBroker(Broker):
    """A broker that provisions its streams and the consumers of its subscribers before it starts."""

    def __init__(self, url: str, *, name: str = "tests", streams: Iterable[Stream] = ()) -> None:
        self._own_streams = tuple(streams)
        super().__init__(url, name=name, streams=self._own_streams)

    async def start(self) -> None:
        """Connect, provision and subscribe; JetStream may start later than the server's port."""
        await self.connect()
        while True:
            try:
                await self.provision()
                break
            except NatsError:
                await asyncio.sleep(_RETRY_DELAY)
        await super().start()

    async def provision(self) -> None:
        """Provision again, such as after the server has lost its data."""
        await jetstreams.provision(self.jetstream, self._own_streams)
        for stream, wanted in durables(self.subscribers):
            await self.jetstream.add_consumer(stream, replace(wanted, name=wanted.durable_name))
