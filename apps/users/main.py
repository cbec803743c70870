"""Composition root of the users service: the one module that builds things. `faststream run apps.users.main:app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from faststream import ContextRepo

import apps.users
from apps.users.keys import load_signer
from apps.users.passwords import Passwords, common_passwords
from apps.users.repository import SigningKeys, Users
from apps.users.requests import router
from apps.users.settings import Settings
from contracts.headers import source_of
from contracts.streams import USER_EVENTS
from contracts.users import UserCreated, UserDeleted, UserUpdated
from kit import database
from kit.asyncapi import ServiceSpecification
from kit.messaging.broker import Broker
from kit.messaging.discovery import Discovery
from kit.ops import backlog, metrics
from kit.ops.durability import Durability
from kit.ops.health import Health
from kit.ops.metrics import Metrics
from kit.ops.schema import wait_for_database
from kit.outbox.relay import Relay
from kit.runtime.app import ServiceApp
from kit.runtime.failpoints import arm
from kit.runtime.logging import configure_logging
from kit.runtime.settings import load

MIGRATIONS = Path(__file__).with_name("migrations")


def create_app(settings: Settings) -> ServiceApp:
    """Build the whole service; nothing is connected before it is started."""
    configure_logging(settings.log_level, settings.log_format)
    arm(settings.failpoints, "users")
    pool = database.create_engine(settings)
    reading = pool.execution_options(isolation_level="AUTOCOMMIT")  # the same connections
    broker = Broker(settings.nats_url, name="users", streams=[USER_EVENTS], replicas=settings.stream_replicas)
    broker.include_router(router)
    relay = Relay(database.url(settings), broker, source_of("users"), USER_EVENTS)
    durability = Durability.of(broker, settings, partial(database.server_time, pool))
    health = Health(
        {"nats": broker.check, "database": partial(database.ping, pool), "outbox": relay.check},
        warnings=durability.checks()
        | {
            "outbox-lag": partial(backlog.check_outbox, pool, settings.outbox_lag_warning),
        },
    )
    measured = Metrics(metrics.outbox_gauges(pool), metrics.relay_gauges(relay))

    @asynccontextmanager
    async def lifespan(context: ContextRepo) -> AsyncIterator[None]:
        await wait_for_database(pool, MIGRATIONS)
        await durability.before_start()
        # Before the first request: else that would wait for it, and on a busy machine for longer than it has.
        await asyncio.to_thread(common_passwords)
        lifetime = timedelta(seconds=settings.access_token_seconds)
        signer = await load_signer(partial(SigningKeys, pool), settings.jwt_secret, lifetime)
        passwords = Passwords(
            memory_kib=settings.argon2_memory_kib,
            iterations=settings.argon2_iterations,
            parallelism=settings.argon2_parallelism,
            threads=settings.password_threads,
        )
        context.set_global("open_users", partial(Users, pool))
        context.set_global("read_users", partial(Users, reading))
        context.set_global("read_signing_keys", partial(SigningKeys, reading))
        context.set_global("free_passwords", passwords.free)
        context.set_global("signer", signer)
        try:
            yield
        finally:
            passwords.close()
            await pool.dispose()

    documented = ServiceSpecification("users", apps.users.__doc__, sends=[UserCreated, UserUpdated, UserDeleted])
    discovery = Discovery(broker, "users", documented, settings.asyncapi_url)
    return ServiceApp(
        broker,
        lifespan=lifespan,
        after_startup=[relay.start, discovery.start, durability.log_findings],
        on_shutdown=[discovery.stop, relay.stop],
        asgi_routes=[*health.routes(), *measured.routes()],
        specification=documented,
        logger=None,
    )


app = create_app(load(Settings))
