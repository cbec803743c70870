"""Golden messages of every version go through today's handlers, in memory: each takes what an old sender sends.

They are all commands and events, and the requests of users and payments. The database of refused events has no fake, so
the requests about them are only read (`test_golden.py`), as are those of other services.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher

from apps.users.models import User
from contracts.base import DurableCommand, Event
from contracts.consumers import Durable, durables
from contracts.errors import ErrorKind, Problem
from contracts.headers import DATA_SCHEMA, DEADLINE, SERVICE_ERROR_CODE, EventHeaders
from contracts.payments import CreatePayment, CreatePayments
from contracts.users import CreateUser, UserCreated, UserDeleted, UserUpdated
from kit.messaging.broker import Broker
from mkstore import testing
from tests.architecture.messages import REQUESTS
from tests.contracts.test_golden import FILES
from tests.support import payments_harness, users_harness
from tests.support.service_harness import Service
from tests.support.users_harness import LOW_COST, PASSWORD, new_email

FAKED = ("payments", "users")
HANDLED = {
    request.subject: request for request in REQUESTS if request.subject.startswith(tuple(f"{s}." for s in FAKED))
}
REFUSED = {
    "users.refresh": ErrorKind.UNAUTHENTICATED,
    "users.revoke": ErrorKind.NOT_FOUND,
    "users.withdraw_key": ErrorKind.NOT_FOUND,
}
"""Requests that name a token, a session or a key of the store that recorded them."""


def golden_of(kinds: Mapping[str, object]) -> pytest.MarkDecorator:
    """Parametrize a test with the golden messages of these kinds, of every version."""
    files = [file for file in FILES if file.stem in kinds]
    return pytest.mark.parametrize("file", files, ids=lambda file: f"{file.parent.name}/{file.stem}")


def _stem(durable: Durable) -> str:
    return durable.message.subject.partition(".{")[0]


def delivered(*kinds: type) -> pytest.MarkDecorator:
    """Parametrize a test with each durable consumer of such messages, and the golden messages of every version."""
    wanted = [durable for durable in durables() if issubclass(durable.message, kinds)]
    pairs = [(durable, file) for durable in wanted for file in FILES if file.stem == _stem(durable)]
    ids = [f"{durable.name}-{file.parent.name}" for durable, file in pairs]
    return pytest.mark.parametrize(("durable", "file"), pairs, ids=ids)


def recorded(file: Path) -> tuple[str, dict[str, str], bytes]:
    """Return subject, headers and body; without the deadline, which has passed."""
    golden = json.loads(file.read_text("utf-8"))
    headers = {name: value for name, value in golden["headers"].items() if name != DEADLINE}
    return golden["subject"], headers, json.dumps(golden["body"]).encode()


def user_of(request: Mapping[str, Any]) -> User:
    """Return the user that a request is about."""
    password = request.get("currentPassword") or request.get("password") or PASSWORD
    user = User.register(
        email=request.get("email") or new_email(),
        name=None,
        password_hash=PasswordHasher(**LOW_COST).hash(password),
        now=datetime.now(UTC),
    )
    user.id = UUID(request.get("id") or request.get("userId") or str(user.id))
    return user


def in_memory(subject: str, body: bytes) -> AbstractAsyncContextManager[Service]:
    """Run the service of a request, with the user that the request is about."""
    if subject.startswith("payments."):
        return payments_harness.in_memory()
    return users_harness.in_memory(*([] if subject == CreateUser.subject else [user_of(json.loads(body))]))


@golden_of(HANDLED)
async def test_old_requests_get_a_valid_reply(file: Path) -> None:
    subject, headers, body = recorded(file)
    async with in_memory(subject, body) as service:
        broker: Broker = service.broker
        reply = await broker.request(body, subject, headers=headers, timeout=15)
    if SERVICE_ERROR_CODE in reply.headers:
        problem = Problem.model_validate_json(reply.body)
        assert problem.kind == REFUSED.get(file.stem), problem
    else:
        HANDLED[file.stem].reply_type().model_validate_json(reply.body)


@delivered(DurableCommand, Event)
async def test_old_commands_and_events_have_their_effect(durable: Durable, file: Path) -> None:
    await has_effect(durable, *recorded(file))


@delivered(Event)
async def test_events_without_a_schema_version_have_their_effect(durable: Durable, file: Path) -> None:
    subject, headers, body = recorded(file)
    assert headers.pop(DATA_SCHEMA)
    assert EventHeaders.model_validate(headers).data_schema is None
    await has_effect(durable, subject, headers, body)


async def has_effect(durable: Durable, subject: str, headers: dict[str, str], body: bytes) -> None:
    """Check that a consumer handles a golden message."""
    async with testing.in_memory(services=[durable.service]) as store:
        await store.publish_raw(subject, body, headers)
        [consumed] = await store.consumed(durable)
        assert consumed.outcome == "handled", await store.dead_lettered(durable, 0)
        data = store.services[durable.service].data
    match consumed.message:
        case UserCreated() | UserUpdated() | UserDeleted() as event if durable.service == "payments":
            assert data.payers[event.aggregate_id].version == event.aggregate_version
        case CreatePayments() as batch:
            assert {item.command.id for item in batch.items} == data.rows.keys()
        case CreatePayment() as command:
            assert {command.id} == data.rows.keys()


def test_every_consumer_has_a_golden_message() -> None:
    consumed = {_stem(durable) for durable in durables()}
    assert consumed | set(HANDLED) <= {file.stem for file in FILES}
