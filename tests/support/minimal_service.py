"""A service whose NATS server is away: `faststream run tests.support.minimal_service:app`."""

import gc

from faststream.asgi import AsgiResponse, get

from kit.messaging.broker import Broker
from kit.ops.health import Health
from kit.runtime.app import ServiceApp


@get
async def frozen_objects(_: object) -> AsgiResponse:
    """Return the number of objects that are excluded from garbage collection."""
    return AsgiResponse(str(gc.get_freeze_count()).encode(), 200)


broker = Broker("nats://127.0.0.1:1", name="minimal")
app = ServiceApp(broker, asgi_routes=[*Health({}).routes(), ("/frozen-objects", frozen_objects)])
