"""The users service in memory."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from argon2 import PasswordHasher

from apps.users.deps import Dependencies, SessionLimits
from apps.users.key_models import KeyTimes
from apps.users.key_publication import Publish as PublishKeys
from apps.users.key_publication import ReadKeys
from apps.users.key_rotation import RETIREMENT, KeyRing
from apps.users.main import create_app
from apps.users.models import EmailRules
from apps.users.passwords import Passwords
from apps.users.refresh_tokens import SessionKeys
from apps.users.revocations import Publish, Revocations
from apps.users.settings import Settings
from contracts.keys import PublicKeys
from contracts.streams import PUBLIC_KEYS
from kit.runtime.tracing import trace
from mkstore.testing.fakes.keys import FakeSigningKeys
from mkstore.testing.fakes.users import FakeUsers, UsersData
from mkstore.testing.outbox import OnCommit
from mkstore.testing.signing_keys import SECRET, CachedSeal
from mkstore.testing.streams import MemoryStreams
from mkstore.testing.surroundings import ServiceInMemory, Surroundings, with_handlers

LOW_COST: dict[str, Any] = {"memory_cost": 8, "time_cost": 1, "parallelism": 1}
"""argon2 parameters of tests; the environment has a minimum."""
_LOOK_INTERVAL = 0.1
"""Seconds between two looks at the signing keys, so that a rotation follows the clock soon."""


def build(around: Surroundings) -> ServiceInMemory:
    """Return the service with an empty database; passwords are hashed at low cost."""
    settings = low_cost(Settings(**{"jwt_secret": SECRET, **around.settings}))
    data = UsersData(clock=around.clock)
    on_commit = around.outbox.of("users")

    async def publish(subject: str, body: bytes) -> None:
        headers = {"content-type": "application/json"} | trace.get().headers()
        await around.streams.publish(subject, body, headers)

    deps = fake_dependencies(
        data,
        partial(FakeUsers, data, on_commit),
        publish,
        publish_keys=partial(publish_keys, around.streams),
        on_commit=on_commit,
        lifetime=timedelta(seconds=settings.access_token_seconds),
        limits=SessionLimits(
            idle=timedelta(days=settings.session_idle_days),
            longest=timedelta(days=settings.session_max_days),
            per_user=settings.max_sessions,
        ),
        cache=timedelta(seconds=settings.key_cache_seconds),
    )

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        await deps.keys.load()
        await deps.keys.start()
        try:
            yield
        finally:
            await deps.keys.stop()
            deps.passwords.close()

    return with_handlers(create_app(settings, deps), data, running)


def low_cost(settings: Settings) -> Settings:
    """Return `settings` with argon2 parameters below the minimum of the environment."""
    low = {"argon2_memory_kib": 8, "argon2_iterations": 1, "argon2_parallelism": 1}
    return settings.model_copy(update=low)


def fake_dependencies(
    data: UsersData,
    open_users: Callable[[], Any],
    publish: Publish | None = None,
    *,
    publish_keys: PublishKeys | None = None,
    on_commit: OnCommit | None = None,
    lifetime: timedelta = timedelta(minutes=15),
    limits: SessionLimits | None = None,
    cache: timedelta = timedelta(minutes=5),
) -> Dependencies:
    """Return dependencies that keep everything in `data`; load their `keys` and look once, close their `passwords`.

    `publish` takes the revocations and `publish_keys` the public keys; by default `data` does. `on_commit` gets the
    events about signing keys. Tokens live for `lifetime`, and a new key is published for `cache` before it signs.
    """
    open_keys: Any = partial(FakeSigningKeys, data.keys, on_commit)
    keys = KeyRing(
        open_keys,
        open_keys,
        CachedSeal(),
        publish_keys or data.keys.publish,
        lifetime=lifetime,
        times=KeyTimes(cache, RETIREMENT),
        look_interval=_LOOK_INTERVAL,
        clock=lambda: 0.0,  # it signs, no matter when it has looked at the keys
        signing_clock=data.clock,
    )
    return Dependencies(
        open_users=open_users,
        read_users=open_users,
        passwords=Passwords(PasswordHasher(**LOW_COST), threads=2),
        keys=keys,
        session_keys=SessionKeys(SECRET),
        session_limits=limits or SessionLimits(),
        revocations=Revocations(open_users, publish or data.sessions.publish),
        email_rules=EmailRules(test_domains=True),
        clock=data.clock,
    )


async def publish_keys(streams: MemoryStreams, read: ReadKeys) -> bool:
    """Publish the public keys unless the stream has them already; return whether it had."""
    body = (await read()).model_dump_json().encode()
    last = streams.last(PUBLIC_KEYS, PublicKeys.subject)
    if last is not None and last.body == body:
        return True
    await streams.publish(PublicKeys.subject, body, {"content-type": "application/json"})
    return False
