"""The users service under test: in memory with a fake repository, or the real app on real servers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from faststream.nats import TestNatsBroker

from apps.users.deps import Dependencies, SessionLimits
from apps.users.key_models import KeyTimes
from apps.users.key_rotation import RETIREMENT, KeyRing
from apps.users.main import create_app
from apps.users.models import EmailRules, User
from apps.users.passwords import Passwords
from apps.users.refresh_tokens import SessionKeys
from apps.users.revocations import Publish, Revocations
from apps.users.settings import Settings
from contracts.headers import STORED_SUBJECT
from contracts.revocations import UserRevocation
from contracts.streams import REVOCATIONS, USER_EVENTS
from contracts.users import CreateUser, GetUsers, UserView
from kit.messaging.broker import Broker
from kit.messaging.reader import stream_reader
from kit.runtime.app import ServiceApp
from kit.runtime.depends import DEPENDENCIES
from tests.support.clock import Clock
from tests.support.keys_fake import FakeSigningKeys
from tests.support.service_harness import PublishedEvent, Service, running, stored_events
from tests.support.service_processes import broker_of
from tests.support.signing_keys import SECRET, CachedSeal
from tests.support.users_fakes import FakeUsers, Store

PASSWORD = "correct horse battery"
CONFIRMED = {"currentPassword": PASSWORD}
LOW_COST: dict[str, Any] = {"memory_cost": 8, "time_cost": 1, "parallelism": 1}
"""argon2 parameters of tests; the environment has a minimum."""
LIFETIME = timedelta(minutes=15)


def low_cost(settings: Settings) -> Settings:
    """Return `settings` with argon2 parameters below the minimum of the environment."""
    low = {"argon2_memory_kib": 8, "argon2_iterations": 1, "argon2_parallelism": 1}
    return settings.model_copy(update=low)


def new_email() -> str:
    return f"{uuid4().hex}@example.com"


class UsersService(Service):
    """A running users service."""

    def __init__(
        self,
        broker: Broker,
        app: ServiceApp,
        all_events: Callable[[], Awaitable[list[PublishedEvent]]],
        revocations: Callable[[], Awaitable[dict[str, bytes]]],
    ) -> None:
        super().__init__(broker)
        self._app = app
        self._all_events = all_events
        self._revocations = revocations

    async def all_events(self) -> list[PublishedEvent]:
        return await self._all_events()

    async def get(self, user_id: UUID) -> UserView | None:
        """Return one user; None for an unknown id."""
        users = (await self.request(GetUsers(ids=(user_id,)))).users
        return users[0] if users else None

    async def new_user(self, **fields: Any) -> UserView:
        created = await self.request(CreateUser(**{"email": new_email(), "password": PASSWORD, **fields}))
        return UserView(**dict(created))

    async def revocations(self) -> dict[str, bytes]:
        """Return the published revocations by subject."""
        return await self._revocations()

    async def user_revocation(self, user_id: UUID) -> UserRevocation:
        """Return the published revocation of a user."""
        return UserRevocation.model_validate_json((await self.revocations())[f"revocations.user.{user_id}"])

    def limit_sessions(self, per_user: int, idle: timedelta = timedelta(days=30)) -> None:
        """Let the handlers limit sessions like this from now on."""
        deps: Dependencies = self._app.context.get(DEPENDENCIES)
        limits = SessionLimits(idle=idle, per_user=per_user)
        self._app.context.set_global(DEPENDENCIES, replace(deps, session_limits=limits))

    def use_email_rules(self, rules: EmailRules) -> None:
        """Let the handlers apply other `rules` from now on."""
        deps: Dependencies = self._app.context.get(DEPENDENCIES)
        self._app.context.set_global(DEPENDENCIES, replace(deps, email_rules=rules))

    def use_passwords(self, passwords: Passwords) -> None:
        """Let the handlers use other `passwords` from now on."""
        deps: Dependencies = self._app.context.get(DEPENDENCIES)
        self._app.context.set_global(DEPENDENCIES, replace(deps, passwords=passwords))


@asynccontextmanager
async def in_memory(*users: User) -> AsyncIterator[UsersService]:
    """Run the service in memory, with these users, until the block ends."""
    store = Store(users={user.id: user for user in users})
    open_users: Any = partial(FakeUsers, store)
    deps = fake_dependencies(store, open_users)
    app = create_app(low_cost(Settings(jwt_secret=SECRET)), deps)

    async def all_events() -> list[PublishedEvent]:
        return [PublishedEvent(event, {}) for event in store.events]

    async def published() -> dict[str, bytes]:
        return store.sessions.published

    try:
        await deps.keys.load()
        await deps.keys.look()
        async with TestNatsBroker(broker_of(app)):
            yield UsersService(broker_of(app), app, all_events, published)
    finally:
        deps.passwords.close()


def fake_dependencies(store: Store, open_users: Callable[[], Any], publish: Publish | None = None) -> Dependencies:
    """Return dependencies that keep everything in `store`; load their `keys` and look once, close their `passwords`.

    `publish` takes the revocations; by default the store does.
    """
    open_keys: Any = partial(FakeSigningKeys, store.keys)
    keys = KeyRing(
        open_keys,
        open_keys,
        CachedSeal(),
        store.keys.publish,
        lifetime=LIFETIME,
        times=KeyTimes(timedelta(minutes=5), RETIREMENT),
        clock=Clock(),
    )
    return Dependencies(
        open_users=open_users,
        read_users=open_users,
        passwords=Passwords(PasswordHasher(**LOW_COST), threads=2),
        keys=keys,
        session_keys=SessionKeys(SECRET),
        session_limits=SessionLimits(),
        revocations=Revocations(open_users, publish or store.sessions.publish),
        email_rules=EmailRules(test_domains=True),
    )


@asynccontextmanager
async def on_servers(settings: Settings) -> AsyncIterator[UsersService]:
    """Run the service on real servers until the block ends."""
    app = create_app(settings)
    async with running(app, settings.nats_url) as broker:
        yield UsersService(
            broker, app, partial(stored_events, broker, USER_EVENTS, "users"), partial(_stored_revocations, broker)
        )


async def _stored_revocations(broker: Broker) -> dict[str, bytes]:
    async with stream_reader(broker.jetstream) as read:
        messages = await read(REVOCATIONS.name, {"seq": 1, "next_by_subj": ">", "batch": 1000})
    return {(message.headers or {})[STORED_SUBJECT]: message.data for message in messages}
