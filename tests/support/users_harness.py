"""The users service as a test asks it: in memory with a fake repository, or the real app on real servers."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

import pytest
from faststream.nats import TestNatsBroker
from nats.js.api import ConsumerConfig, DeliverPolicy
from pydantic import SecretStr

from apps.users.deps import Dependencies
from apps.users.keys import load_signer
from apps.users.main import create_app
from apps.users.passwords import Passwords
from apps.users.settings import Settings
from contracts.base import Event, Reply, Request
from contracts.errors import Problem
from contracts.streams import USER_EVENTS
from contracts.users import CreateUser, GetUsers, UserCreated, UserDeleted, UserUpdated, UserView
from kit.errors import RemoteProblem
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.runtime.depends import DEPENDENCIES
from tests.support.polling import eventually
from tests.support.service_processes import broker_of, connect
from tests.support.users_fakes import FakeSigningKeys, FakeUsers, Store

PASSWORD = "correct horse battery"
CHEAP = {"memory_kib": 8, "iterations": 1, "parallelism": 1}
"""What a hash costs in a test; the environment's settings have a floor."""
SECRET = SecretStr("a secret of the tests")
LIFETIME = timedelta(minutes=15)


def cheap(settings: Settings) -> Settings:
    """Return `settings` below the floor that holds for the environment."""
    return settings.model_copy(update={f"argon2_{name}": value for name, value in CHEAP.items()})


def new_email() -> str:
    return f"{uuid4().hex}@example.com"


class Sent(NamedTuple):
    """An event as it went out."""

    event: Event
    headers: Mapping[str, str]


class Told(Protocol):
    """Returns the events of one user, in order, once there are as many as expected."""

    async def __call__(self, user_id: UUID, expected: int) -> list[Sent]: ...


@dataclass
class Service:
    """A running users service."""

    broker: Broker
    told: Told
    passwords: Callable[[], Passwords]

    async def ask(self, request: Request[Reply]) -> Reply:
        return await RequestClient(self.broker).request(request, timeout=15)

    async def refuse(self, request: Request[Any]) -> Problem:
        """Ask what must be refused, and return how it was."""
        with pytest.raises(RemoteProblem) as refused:
            await self.ask(request)
        return refused.value.problem()

    async def get(self, user_id: UUID) -> UserView | None:
        """Return one user; None for an unknown id."""
        found = (await self.ask(GetUsers(ids=(user_id,)))).users
        return found[0] if found else None

    async def new_user(self, **said: Any) -> UserView:
        return await self.ask(CreateUser(**{"email": new_email(), "password": PASSWORD, **said}))


@asynccontextmanager
async def in_memory() -> AsyncIterator[Service]:
    """Serve from a dictionary."""
    store = Store()
    open_users: Any = partial(FakeUsers, store)
    deps = await fake_dependencies(store, open_users)
    app = create_app(cheap(Settings(jwt_secret=SECRET)), deps)

    async def told(user_id: UUID, expected: int) -> list[Sent]:
        return [Sent(event, {}) for event in store.events if event.aggregate_id == user_id]

    try:
        async with TestNatsBroker(broker_of(app)):
            yield Service(broker_of(app), told, deps.free_passwords)
    finally:
        deps.passwords.close()


async def fake_dependencies(store: Store, open_users: Callable[[], Any]) -> Dependencies:
    """Return dependencies that keep everything in `store`; close their `passwords`."""
    open_keys: Any = partial(FakeSigningKeys, store)
    return Dependencies(
        open_users=open_users,
        read_users=open_users,
        read_signing_keys=open_keys,
        passwords=Passwords(**CHEAP, threads=2),
        signer=await load_signer(open_keys, SECRET, LIFETIME),
    )


@asynccontextmanager
async def for_real(settings: Settings) -> AsyncIterator[Service]:
    """Serve with the real app, until the block ends."""
    app = create_app(settings)
    async with app.lifespan_context(), connect(settings.nats_url) as broker:
        await app.start()
        await broker_of(app).check()  # a round trip: until then the subscriptions may not have reached the server
        try:
            deps: Dependencies = app.context.get(DEPENDENCIES)
            yield Service(broker, partial(events_of, broker), deps.free_passwords)
        finally:
            await app.stop()


_EVENTS: dict[str, type[Event]] = {event.subject: event for event in (UserCreated, UserUpdated, UserDeleted)}


async def all_events(broker: Broker) -> list[Sent]:
    """Return what the users service sent into the stream, in order; other tests say there what they like."""
    info = await broker.jetstream.stream_info(USER_EVENTS.name)
    reader = await broker.jetstream.subscribe(
        "user.*",
        stream=USER_EVENTS.name,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    found = []
    for _ in range(info.state.messages):
        message = await reader.next_msg(timeout=5)
        headers = dict(message.headers or {})
        if headers.get("ce-source") == "mkstore/users":
            found.append(Sent(_EVENTS[message.subject].model_validate_json(message.data), headers))
    await reader.unsubscribe()
    return found


async def events_of(broker: Broker, user_id: UUID, expected: int) -> list[Sent]:
    """Return the events of one user, once there are as many as expected."""

    async def enough() -> list[Sent]:
        found = [sent for sent in await all_events(broker) if sent.event.aggregate_id == user_id]
        return found if len(found) >= expected else []

    return await eventually(enough) if expected else []
