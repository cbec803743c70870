"""Composition root of the gateway, a FastStream app with a FastAPI side: `faststream run apps.gateway.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

import apps.gateway
import portal
from apps.gateway.auth import JwksVerifier
from apps.gateway.deps import Dependencies, Services, address_limit
from apps.gateway.events import event_router, owner_of
from apps.gateway.http import openapi, problems
from apps.gateway.http.backpressure import ConcurrencyLimit
from apps.gateway.http.middleware import BodySizeLimit, RequestId
from apps.gateway.http.rate_limits import RateLimits
from apps.gateway.http.server import configure_server
from apps.gateway.http.shutdown import on_termination
from apps.gateway.payments.accept import PaymentAcceptance
from apps.gateway.payments.queue import JetStreamPaymentQueue, PaymentQueue
from apps.gateway.payments.waiters import Waiters
from apps.gateway.routes import auth, events, health, live, payments, users
from apps.gateway.settings import Settings
from apps.gateway.sse.broadcaster import Broadcaster
from apps.gateway.sse.history import History, StreamedHistory
from contracts.payments import CreatePayment, GetPayments, ListPayments
from contracts.streams import PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS
from contracts.streams import STREAMS as EVERY_STREAM
from contracts.users import (
    Authenticate,
    ChangePassword,
    CreateUser,
    DeleteUser,
    GetKeys,
    GetUsers,
    ListUsers,
    UpdateUser,
)
from kit.asyncapi import VERSION, ServiceSpecification
from kit.messaging.broker import Broker
from kit.messaging.discovery import Discovery
from kit.ops.durability import Durability
from kit.ops.health import Health
from kit.runtime.app import ServiceApp
from kit.runtime.failpoints import arm
from kit.runtime.logging import configure_logging
from kit.runtime.settings import load
from portal.live import SystemMonitor

TITLE = "mkstore"
STREAMS = (PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS)
"""The streams that the gateway writes to and reads from."""
REQUESTS = (
    *(Authenticate, ChangePassword, CreateUser, DeleteUser, GetKeys, GetUsers, ListUsers, UpdateUser),
    *(GetPayments, ListPayments),
)
"""The requests that the gateway sends to the services."""


class Gateway(ServiceApp):
    """Starts and stops as a FastStream app; every other call is FastAPI's."""

    http: ASGIApp
    api: FastAPI
    """What is behind the middlewares of `http`; it knows the API's document."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the life of the process."""
        if scope["type"] == "lifespan":
            configure_server(receive)
            await super().__call__(scope, receive, send)
        else:
            await self.http(scope, receive, send)


def create_app(
    settings: Settings, broker: Broker, commands: PaymentQueue | None = None, history: History | None = None
) -> Gateway:
    """Build the whole gateway on `broker`; nothing is connected before it is started."""
    services = Services(broker, settings.request_timeout)
    keys = JwksVerifier(services.ask_for_many, settings.request_timeout)
    waiters = Waiters(most=settings.max_requests_in_flight // 2)
    feed = Broadcaster(history or StreamedHistory(broker), owner_of)
    intake = PaymentAcceptance(
        services.payment,
        broker,
        commands or JetStreamPaymentQueue(broker, settings.request_timeout),
        settings.request_timeout,
    )
    broker.include_router(event_router(feed, waiters, keys))

    http = FastAPI(
        title=TITLE,
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
        responses=openapi.documented(400, 413, 422, 500, 503, 504),
    )
    limits = RateLimits(settings.rate_limits(), settings.rate_limit_storage, enabled=settings.rate_limit_enabled)
    durability = Durability.of(broker, settings)
    ready = Health({"nats": broker.check}, warnings=durability.checks())
    watch = (
        SystemMonitor(settings.live_nats_url, EVERY_STREAM, bodies=settings.live_payloads)
        if settings.live_nats_url
        else None
    )
    is_open = settings.app_env == "development"
    http.state.live = ("everybody" if is_open else "admins") if watch else None
    http.state.parts = Dependencies(services, intake, waiters, feed, keys, limits, ready, watch, watch_is_open=is_open)
    for module in (users, auth, payments, events, live, portal):
        http.include_router(module.router, dependencies=[Depends(address_limit)], responses=openapi.documented(429))
    http.include_router(health.router)  # whoever looks after the process is never told to come back later
    http.openapi = partial(openapi.document, http)  # type: ignore[method-assign]
    problems.install(http)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await durability.before_start()
        with on_termination(feed.close):
            yield

    documented = ServiceSpecification("gateway", apps.gateway.__doc__, publishes=[CreatePayment], requests=REQUESTS)
    discovery = Discovery(broker, "gateway", documented, settings.asyncapi_url)
    app = Gateway(
        broker,
        lifespan=lifespan,
        after_startup=[feed.start, discovery.start, durability.log_findings],
        on_shutdown=[discovery.stop, *([watch.close] if watch else [])],
        specification=documented,
        logger=None,
    )
    bounded = ConcurrencyLimit(
        BodySizeLimit(http, settings.max_body_bytes),
        requests=settings.max_requests_in_flight,
        streams=settings.max_event_streams,
        passwords=settings.max_password_requests,
        seconds=settings.request_timeout,
    )
    app.http, app.api = RequestId(bounded), http
    return app


def make_broker(settings: Settings) -> Broker:
    """Make the connection that the gateway runs on."""
    return Broker(settings.nats_url, name="gateway", streams=STREAMS, replicas=settings.stream_replicas)


_settings = load(Settings)
configure_logging(_settings.log_level, _settings.log_format)
arm(_settings.failpoints, "gateway")
app = create_app(_settings, make_broker(_settings))
