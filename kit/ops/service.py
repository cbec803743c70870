"""What every service that owns a database has around its handlers, built once."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

from faststream import ContextRepo
from sqlalchemy import Table

from contracts.consumers import Durable
from contracts.headers import source_of
from contracts.shards import ONLY, Shard
from contracts.streams import DEAD_LETTERS, Stream, streams_of
from kit import database
from kit.asyncapi.specification import ServiceSpecification
from kit.crash_count import CrashCount, crash_count_cleaner
from kit.inbox import inbox_cleaner
from kit.messaging.broker import Broker
from kit.messaging.delivery.breaker import BREAKERS, Breakers
from kit.messaging.delivery.crash_guard import CRASH_GUARD, CrashGuard
from kit.messaging.discovery import Discovery
from kit.messaging.retry import RETRY_POLICY, RetryPolicy
from kit.ops import backlog, encryption, gauges
from kit.ops.copies import check_copies
from kit.ops.durability import Durability
from kit.ops.health import Check, Health
from kit.ops.memory import CommandMemory
from kit.ops.metrics import Metrics
from kit.ops.metrics_server import MetricsServer
from kit.ops.schema import wait_for_database
from kit.ops.subjects import UnhandledMessages
from kit.ops.traces import configure_traces
from kit.outbox.relay import Relay
from kit.outbox.requests import RefusedEventNotFound, refused_event_router
from kit.runtime.app import ServiceApp
from kit.runtime.client_security import ClientSecurity
from kit.runtime.depends import DEPENDENCIES
from kit.runtime.failpoints import arm
from kit.runtime.logging import configure_logging
from kit.runtime.measurements import Level, sum_of_processes
from kit.runtime.settings import ConsumerSettings, DatabaseSettings
from kit.runtime.shutdown import on_termination

_CONNECTIONS = sum_of_processes(
    "mkstore_database_connections_in_use", "Connections of the pool that a transaction or a statement uses."
)
_CONNECTION_LIMIT = sum_of_processes("mkstore_database_connections_limit", "Connections that the pool may open.")


class Background(Protocol):
    """Work of a service beside its messages."""

    async def start(self) -> None:
        """Start to work; the broker is connected."""

    async def stop(self) -> None:
        """Stop; what is left is done after the next start, or by another replica."""


class DatabaseService:
    """A service that owns a database: its connections, outbox relay, health checks, metrics and discovery.

    The composition root includes its routers in `broker`, then calls `app`. Nothing is connected before the app starts.
    `events` is the stream that the relay publishes to, and `states` are those that the service publishes to by itself.
    A service that consumes durable messages passes its `inbox` table: processed keys are then removed after
    `inbox_keep_days`, and dead letters are checked and measured. With `remembers`, the leader of the relay purges that
    durable's stream, in which at most `max_remembered` messages stay. All streams and consumers are those of the
    `shard`.
    """

    def __init__(
        self,
        name: str,
        settings: DatabaseSettings,
        *,
        events: Stream,
        consumes: tuple[Stream, ...] = (),
        states: tuple[Stream, ...] = (),
        inbox: Table | None = None,
        remembers: Durable | None = None,
        max_remembered: int = 0,
        migrations: Path,
        shard: Shard = ONLY,
    ) -> None:
        configure_logging(settings.log_level, settings.log_format)
        self._send_last_spans = configure_traces(settings, name)
        arm(settings.failpoints, name)
        self._name = name
        self._settings = settings
        self._migrations = migrations
        self._shard = shard
        self._events = events.of(shard)
        self._consumes = bool(consumes)
        streams = streams_of([shard], (*consumes, events, *states, *([DEAD_LETTERS] if consumes else [])))
        self.pool = database.create_pool(settings)
        self._engine = database.create_engine(settings)
        self.broker = Broker(
            settings.nats_url,
            name=name,
            security=ClientSecurity.of(settings),
            streams=streams,
            replicas=settings.stream_replicas,
            api_prefix=settings.nats_api_prefix,
        )
        self.broker.include_router(refused_event_router(name, self.pool).of(shard))
        self._relay = Relay(database.url(settings), self.broker, source_of(name), self._events)
        self._durability = Durability.of(self.broker, settings, partial(database.server_time, self._engine))
        self._background: list[Background] = []
        self._memory: CommandMemory | None = None
        if remembers is not None:
            self._memory = CommandMemory(
                self.broker, remembers.of(shard), max_messages=max_remembered, leads=lambda: self._relay.leads
            )
            self._background.append(self._memory.purging)
        self._retry_policy: RetryPolicy | None = None
        self._crash_guard: CrashGuard | None = None
        self._breakers: Breakers | None = None
        if inbox is not None and isinstance(settings, ConsumerSettings):
            keep = timedelta(days=settings.inbox_keep_days)
            self._background.append(inbox_cleaner(self._engine, inbox, keep))
            self._breakers = Breakers(settings.delivery_failure_share, settings.delivery_pause)
            open_count = partial(CrashCount, self.pool)
            self._background.append(crash_count_cleaner(open_count, keep))
            self._crash_guard = CrashGuard(open_count, settings.delivery_crashes)
            self._retry_policy = RetryPolicy(
                settings.delivery_attempts, settings.delivery_first_delay, settings.delivery_max_delay
            )

    def app(
        self,
        specification: ServiceSpecification,
        connect: Callable[[], AbstractAsyncContextManager[object]],
        deps: object | None = None,
        *,
        background: Sequence[Background] = (),
        checks: Mapping[str, Check] | None = None,
    ) -> ServiceApp:
        """Return the app; `connect` opens the handlers' dependencies at startup, unless `deps` are given.

        What works in the `background` starts after the broker, and stops before it. A process is not ready while one of
        the `checks` fails.

        With `deps` the handlers work as soon as the broker does, also in memory without a startup.
        """

        @asynccontextmanager
        async def lifespan(context: ContextRepo) -> AsyncIterator[None]:
            await wait_for_database(self._engine, self._migrations)
            await self._durability.before_start()
            try:
                async with connect() as connected:
                    context.set_global(DEPENDENCIES, deps or connected)
                    with on_termination(health.stop, delay=self._settings.drain_seconds):
                        yield
            finally:
                await self.pool.close()
                await self._engine.dispose()

        specification.refusals = [*specification.refusals, RefusedEventNotFound]
        specification.database = type(self._settings).model_fields["db_database"].default
        health = self._health(checks or {}, specification)
        measuring = MetricsServer(self._metrics(), self._settings)
        discovery = Discovery(self.broker, self._name, specification, self._settings.asyncapi_url)
        background = [*background, *self._background]
        app = ServiceApp(
            self.broker,
            asgi_routes=[*health.routes(), *measuring.routes],
            lifespan=lifespan,
            after_startup=[
                self._relay.start,
                *(each.start for each in background),
                measuring.start,
                discovery.start,
                self._durability.log_findings,
            ],
            on_shutdown=[measuring.stop, discovery.stop, self._relay.stop, *(each.stop for each in background)],
            after_shutdown=[self._send_last_spans],
            specification=specification,
            logger=None,
        )
        app.context.set_global(RETRY_POLICY, self._retry_policy)
        app.context.set_global(CRASH_GUARD, self._crash_guard)
        app.context.set_global(BREAKERS, self._breakers)
        if deps is not None:
            app.context.set_global(DEPENDENCIES, deps)
        return app

    def _health(self, others: Mapping[str, Check], specification: ServiceSpecification) -> Health:
        checks: dict[str, Check] = {
            "nats": self.broker.check,
            "database": partial(database.ping, self._engine),
            "outbox": self._relay.check,
            **others,
        }
        warnings: dict[str, Check] = (
            self._durability.checks()
            | encryption.checks(self._settings)
            | {
                "outbox-lag": partial(
                    backlog.check_outbox,
                    self._engine,
                    self._settings.outbox_lag_warning,
                    self._events.duplicate_window,
                ),
                "database-copies": partial(check_copies, self._engine, self._settings.db_copies),
                "subjects": UnhandledMessages(self.broker, partial(self._stored_subjects, specification)).check,
            }
        )
        if self._memory is not None:
            warnings["memory"] = self._memory.describe
        if self._breakers is not None:
            warnings["consumers"] = self._breakers.check
        if self._consumes:
            warnings["dead-letters"] = partial(backlog.check_dead_letters, self.broker)
        return Health(checks, warnings=warnings)

    def _stored_subjects(self, specification: ServiceSpecification) -> dict[Stream, list[str]]:
        """Return the subjects of what the service publishes or consumes, by stream of its shard that it owns."""
        return {
            stream.of(self._shard): [placed for subject in subjects for placed in stream.places(subject, self._shard)]
            for stream, subjects in specification.stored_subjects().items()
        }

    def _metrics(self) -> Metrics:
        sources = [
            gauges.outbox_gauges(self._engine),
            gauges.copies_gauges(self._engine, self._settings.db_copies),
            gauges.relay_gauges(self._relay),
        ]
        if self._consumes:
            sources += [gauges.dead_letter_gauges(self.broker), gauges.consumer_gauges(self.broker)]
        used = Level(_CONNECTIONS, lambda: self.pool.in_use)
        limit = Level(_CONNECTION_LIMIT, lambda: self._settings.db_pool_size)
        return Metrics(*sources, levels=[used, limit])
