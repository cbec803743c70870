"""Composition root of the gateway, a FastStream app with a FastAPI side: `faststream run apps.gateway.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import replace
from functools import partial

from fastapi import FastAPI
from limits import parse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import apps.gateway
from apps.gateway.auth import TokenVerifier
from apps.gateway.deps import Dependencies, payment_loader, user_loader
from apps.gateway.events import event_router, owner_of
from apps.gateway.fast_path import FastPath
from apps.gateway.http import openapi, problems
from apps.gateway.http.access_log import AccessLog
from apps.gateway.http.backpressure import Capacity, levels
from apps.gateway.http.cors import cors
from apps.gateway.http.expiring_counts import open_counts
from apps.gateway.http.guessing import Guesses, GuessingRules
from apps.gateway.http.middleware import Middleware
from apps.gateway.http.protocol import Connections
from apps.gateway.http.rate_limits import RateLimits
from apps.gateway.http.request_counters import open_counters, open_storage
from apps.gateway.http.server import configure_server
from apps.gateway.payments.accept import PaymentAcceptance
from apps.gateway.payments.lists import PaymentLists
from apps.gateway.payments.queue import PaymentQueue, payment_queue, shard_checks
from apps.gateway.payments.waiters import Waiters
from apps.gateway.public_keys import PublishedKeys, ReadKeys, stored_keys
from apps.gateway.revocations import Revocations
from apps.gateway.routes import documentation, events, health, keys, payments, sessions, users
from apps.gateway.settings import Settings
from apps.gateway.sse.broadcaster import Broadcaster
from apps.gateway.sse.history import History, StreamedHistory
from contracts.payments import CreatePayment, CreatePayments, GetPayments, ListPayments
from contracts.sessions import Authenticate, ListSessions, RefreshSession, RevokeSessions
from contracts.shards import Shards
from contracts.streams import (
    KEYED_PAYMENT_COMMANDS,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
    PUBLIC_KEYS,
    REVOCATIONS,
    USER_EVENTS,
    streams_of,
)
from contracts.users import ChangePassword, CreateUser, DeleteUser, GetUsers, ListUsers, UpdateUser
from kit.asyncapi.specification import VERSION, ServiceSpecification
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.messaging.demand import Demand
from kit.messaging.discovery import Discovery
from kit.ops import encryption
from kit.ops.durability import Durability
from kit.ops.health import Health
from kit.ops.metrics import Metrics
from kit.ops.metrics_server import MetricsServer
from kit.ops.traces import configure_traces
from kit.runtime.app import ServiceApp
from kit.runtime.client_security import ClientSecurity
from kit.runtime.clock import SYSTEM_CLOCK, SystemClock
from kit.runtime.failpoints import arm
from kit.runtime.logging import configure_logging
from kit.runtime.settings import load
from kit.runtime.shutdown import on_termination
from portal.live import SystemMonitor
from portal.traces import ReceivedTraces

TITLE = "mkstore"
STREAMS = (PAYMENT_COMMANDS, KEYED_PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS, REVOCATIONS, PUBLIC_KEYS)
"""The streams that the gateway writes to and reads from."""
REQUESTS = (
    *(Authenticate, ListSessions, RefreshSession, RevokeSessions),
    *(ChangePassword, CreateUser, DeleteUser, GetUsers, ListUsers, UpdateUser),
    *(GetPayments, ListPayments),
)
"""The requests that the gateway sends to the services."""
_LIVE_LOGIN = ("LIVE_NATS_URL", "LIVE_NATS_CREDS")


class Gateway(ServiceApp):
    """The gateway's process: FastStream starts and stops it, FastAPI serves HTTP."""

    http: ASGIApp
    """FastAPI behind the middleware and the fast path."""
    api: FastAPI
    """FastAPI alone; it has the OpenAPI document."""
    connections: Connections
    """The connections of its clients."""
    hsts_max_age: int
    """Seconds of `Strict-Transport-Security`."""
    deps: Dependencies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan of the process."""
        if scope["type"] == "lifespan":
            configure_server(receive, self.connections, self.hsts_max_age)
            await super().__call__(scope, receive, send)
        else:
            await self.http(scope, receive, send)


def create_app(settings: Settings, deps: Dependencies | None = None) -> Gateway:
    """Build the gateway; nothing is connected before it starts. Tests pass `deps` with fakes."""
    deps = deps or create_dependencies(settings)
    broker = deps.broker
    broker.include_router(
        event_router(deps.broadcaster, deps.waiters, deps.revocations, deps.public_keys, deps.payment_events)
    )
    api = create_api(deps)
    access_log = AccessLog(settings.log_format) if settings.logs_requests else None

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await deps.durability.before_start()
        with (
            on_termination(begin_to_drain, deps.broadcaster.close, delay=settings.drain_seconds),
            closing(access_log) if access_log else nullcontext(),
        ):
            yield

    def begin_to_drain() -> None:
        deps.health.stop()
        app.connections.is_draining = True

    documented = ServiceSpecification(
        "gateway", apps.gateway.__doc__, publishes=[CreatePayment, CreatePayments], requests=REQUESTS
    )
    measuring = MetricsServer(Metrics(levels=levels(deps.capacity)), settings)
    api.router.routes += [Route(path, app, include_in_schema=False) for path, app in measuring.routes]
    discovery = Discovery(broker, "gateway", documented, settings.asyncapi_url)
    app = Gateway(
        broker,
        lifespan=lifespan,
        after_startup=[deps.durability.log_findings, deps.broadcaster.start, measuring.start, discovery.start],
        on_shutdown=[measuring.stop, discovery.stop, *([deps.monitor.close] if deps.monitor else [])],
        specification=documented,
        logger=None,
    )
    wrap = cors(settings.cors_origins)
    app.http = Middleware(FastPath(api, deps), deps.capacity, deps.rate_limits, access_log, wrap=wrap)
    app.api, app.deps, app.hsts_max_age = api, deps, settings.hsts_max_age
    app.connections = Connections()
    return app


def create_api(deps: Dependencies) -> FastAPI:
    """Build the HTTP API."""
    api = FastAPI(
        title=TITLE,
        version=VERSION,
        openapi_url=None,  # the portal serves it, with an ETag
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
        responses=openapi.responses(400, 408, 413, 422, 431, 500, 503, 504),
    )
    api.state.deps = deps
    for module in (users, sessions, keys, payments, events):
        api.include_router(module.router, responses=openapi.responses(429))
    api.include_router(health.router)  # health probes are not rate-limited
    api.openapi = partial(openapi.document, api)  # type: ignore[method-assign]
    if deps.has_documentation:
        documentation.mount(api, deps)
    problems.install(api)
    return api


def create_dependencies(
    settings: Settings,
    broker: Broker | None = None,
    queue: PaymentQueue | None = None,
    history: History | None = None,
    read_keys: ReadKeys | None = None,
    clock: SystemClock = SYSTEM_CLOCK,
) -> Dependencies:
    """Build what the routes need; tests pass fakes of what talks to NATS, and a clock that they move."""
    timeout = settings.request_timeout
    broker = broker or make_broker(settings)
    client = RequestClient(broker, timeout)
    durability = Durability.of(broker, settings)
    shards = Shards(settings.shards)
    users, payments = user_loader(client), payment_loader(client, shards)
    payment_events, revocations = [Demand() for _ in shards.all], Revocations(clock=clock.monotonic)
    read_keys = read_keys or stored_keys(broker)
    public_keys = PublishedKeys(read_keys, timeout, clock=clock.monotonic, unix_time=clock.unix_time)
    waiters = Waiters(settings.max_requests_in_flight // 2)
    acceptance = PaymentAcceptance(
        find_recorded=payment_loader(client, shards, queued=False),
        find_payment=payments,
        find_user=users,
        broker=broker,
        queue=queue or payment_queue(broker, timeout, shards, settings.stream_replicas),
        waiters=waiters,
        timeout=timeout,
        clock=clock,
        events_of=lambda caller: payment_events[shards.of_user(caller).number].needed,
    )
    monitor = (
        SystemMonitor(
            settings.live_nats_url,
            streams_of(shards.all),
            bodies=settings.live_payloads,
            security=replace(ClientSecurity.of(settings), creds=settings.live_nats_creds, variables=_LIVE_LOGIN),
            api_prefix=settings.nats_api_prefix,
        )
        if settings.live_nats_url
        else None
    )
    storage = open_storage(settings.rate_limit_storage)
    return Dependencies(
        broker=broker,
        client=client,
        users=users,
        payments=payments,
        acceptance=acceptance,
        waiters=waiters,
        broadcaster=Broadcaster(
            history or StreamedHistory(broker, shards),
            owner_of,
            needed=[demand.needed for demand in payment_events],
            has_ended=revocations.has_ended,
            max_replayed=settings.max_replayed_events,
        ),
        payment_lists=PaymentLists(client, shards),
        payment_events=payment_events,
        verifier=TokenVerifier(public_keys, revocations, timeout),
        public_keys=public_keys,
        revocations=revocations,
        rate_limits=RateLimits(
            open_counters(settings.rate_limits(), storage, clock.unix_time), enabled=settings.rate_limit_enabled
        ),
        capacity=Capacity(
            requests=settings.max_requests_in_flight,
            streams=settings.max_event_streams,
            streams_per_caller=settings.max_event_streams_per_caller,
            passwords=settings.max_password_requests,
            timeout=timeout,
        ),
        guesses=Guesses(
            guessing_rules(settings),
            partial(open_counts, storage, clock=clock.monotonic),
            enabled=settings.rate_limit_enabled,
        ),
        durability=durability,
        health=Health(
            {"nats": broker.check},
            warnings=durability.checks() | encryption.checks(settings) | shard_checks(broker, shards),
        ),
        timeout=timeout,
        clock=clock,
        has_documentation=settings.documentation == "open",
        monitor=monitor,
        traces=ReceivedTraces(settings.traces_url) if settings.traces_url else None,
        live_for_admins=settings.app_env != "development",
    )


def guessing_rules(settings: Settings) -> GuessingRules:
    """Return the rules against guessing that the settings name."""
    free, total = parse(settings.rate_limit_account), parse(settings.rate_limit_account_total)
    return GuessingRules(
        free=free.amount,
        window=free.get_expiry(),
        first_delay=settings.guess_first_delay,
        max_delay=settings.guess_max_delay,
        total=total.amount,
        total_window=total.get_expiry(),
        strangers=settings.max_password_requests // 2,
    )


def make_broker(settings: Settings) -> Broker:
    """Return the gateway's connection to NATS; `shard_checks` checks the streams of several shards."""
    return Broker(
        settings.nats_url,
        name="gateway",
        security=ClientSecurity.of(settings),
        streams=[stream for stream in STREAMS if settings.shards == 1 or not stream.sharded],
        replicas=settings.stream_replicas,
        api_prefix=settings.nats_api_prefix,
    )


_settings = load(Settings)
configure_logging(_settings.log_level, _settings.log_format)
_send_last_spans = configure_traces(_settings, "gateway")
arm(_settings.failpoints, "gateway")
app = create_app(_settings)
app.after_shutdown(_send_last_spans)
