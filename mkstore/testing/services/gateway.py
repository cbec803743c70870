"""The gateway in memory."""

from functools import partial

from apps.gateway.main import create_app, create_dependencies
from apps.gateway.settings import Settings
from contracts.keys import PublicKeys
from contracts.shards import Shards
from contracts.streams import PUBLIC_KEYS
from mkstore.testing.fakes.history import FakeHistory
from mkstore.testing.fakes.payment_queue import FakePaymentQueue
from mkstore.testing.signed_in import running
from mkstore.testing.streams import MemoryStreams
from mkstore.testing.surroundings import ServiceInMemory, Surroundings

DEFAULTS = {"request_timeout": 15}
"""Settings in memory: a busy machine must not make a request late."""


def build(around: Surroundings) -> ServiceInMemory:
    """Return the gateway; its `data` is the queue of payment commands."""
    settings = Settings(**{**DEFAULTS, **around.settings})
    shards = Shards(settings.shards)
    queue = FakePaymentQueue(around.streams, shards)
    deps = create_dependencies(
        settings,
        around.broker,
        queue,
        FakeHistory(around.streams, shards),
        partial(stored_keys, around.streams),
        around.clock,
    )
    deps.revocations.caught_up.set()  # nothing is stored before the start
    app = create_app(settings, deps)
    return ServiceInMemory(around.broker, queue, app, partial(running, app))


async def stored_keys(streams: MemoryStreams) -> PublicKeys | None:
    """Return the public keys that are stored."""
    last = streams.last(PUBLIC_KEYS, PublicKeys.subject)
    return None if last is None else PublicKeys.model_validate_json(last.body)
