"""Record what all clients publish on a subject, also the requests and acknowledgements of JetStream."""

import json

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription


class SubjectTap:
    """The bodies of the messages on a subject, until it is read."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []
        self._subscription: Subscription

    async def start(self, client: Client, subject: str) -> "SubjectTap":
        """Start to record; `subject` may contain wildcards."""

        async def append(message: Msg) -> None:
            self._bodies.append(message.data)

        self._subscription = await client.subscribe(subject, cb=append)
        await client.flush()
        return self

    async def read(self) -> list[bytes]:
        """Stop to record; return the bodies in order."""
        await self._subscription.drain()  # type: ignore[no-untyped-call]
        return self._bodies

    async def nak_delays(self) -> list[float]:
        """Stop to record; return the seconds in the negative acknowledgements, in order."""
        naks = [body.removeprefix(b"-NAK") for body in await self.read() if body.startswith(b"-NAK")]
        return [json.loads(nak or b'{"delay": 0}')["delay"] / 1e9 for nak in naks]
