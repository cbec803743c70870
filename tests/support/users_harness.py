"""The users service under test: in memory with a fake repository, or the real app on real servers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from apps.users.deps import Dependencies, SessionLimits
from apps.users.main import create_app
from apps.users.models import EmailRules, User
from apps.users.passwords import Passwords
from apps.users.settings import Settings
from contracts.headers import STORED_SUBJECT
from contracts.revocations import UserRevocation
from contracts.streams import REVOCATIONS, USER_EVENTS
from contracts.users import CreateUser, GetUsers, UserView
from kit.messaging.broker import Broker
from kit.messaging.reader import stream_reader
from kit.runtime.app import ServiceApp
from kit.runtime.depends import DEPENDENCIES
from mkstore import testing
from mkstore.testing import PASSWORD, new_email
from mkstore.testing.fakes.users import UsersData
from mkstore.testing.services.users import LOW_COST, low_cost
from tests.support.service_harness import PublishedEvent, Service, running, stored_events

__all__ = [
    "CONFIRMED",
    "LIFETIME",
    "LOW_COST",
    "PASSWORD",
    "UsersService",
    "in_memory",
    "low_cost",
    "new_email",
    "on_servers",
]

CONFIRMED = {"currentPassword": PASSWORD}
LIFETIME = timedelta(minutes=15)


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
    async with testing.in_memory(services=["users"]) as store:
        service = store.services["users"]
        data: UsersData = service.data
        data.users |= {user.id: user for user in users}

        async def all_events() -> list[PublishedEvent]:
            return [PublishedEvent(event, {}) for event in data.events]

        async def published() -> dict[str, bytes]:
            return {stored.subject: stored.body for stored in store.streams.messages(REVOCATIONS)}

        assert service.app is not None
        yield UsersService(service.broker, service.app, all_events, published)


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
