"""A service without a broker: `faststream run tests.support.minimal_service:app`."""

from kit.ops.health import Health
from kit.runtime.app import ServiceApp

app = ServiceApp(asgi_routes=Health({}).routes())
