"""The broker of a test: requests to services in memory, and outages of them."""

from typing import Any

from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from kit.messaging.broker import Broker


class MemoryBroker(Broker):
    """A broker under TestNatsBroker that can lose a service or NATS itself."""

    def __init__(self) -> None:
        super().__init__("nats://127.0.0.1:1", name="a store in memory")
        self.connected = True
        self.away: set[str] = set()
        """Services that do not run: a request to one has no responder."""
        self.silent: set[str] = set()
        """Services that do not reply: a request to one ends at once with a timeout."""

    def is_connected(self) -> bool:
        """Return `connected`."""
        return self.connected

    async def check(self) -> None:
        """Raise nats-py's error unless `connected`."""
        if not self.connected:
            raise NatsTimeout

    async def request(self, message: Any, subject: str, *args: Any, **options: Any) -> Any:
        """Send a request, unless its service is away or silent."""
        service = subject.partition(".")[0]
        if service in self.away:
            raise NoRespondersError
        if service in self.silent:
            raise NatsTimeout
        return await super().request(message, subject, *args, **options)
