"""Golden messages of every version go through today's handlers, in memory: each takes what an old sender sends.

They are those of users and payments, which have fakes. The database of refused events has none, so the requests about
them are only read (`test_golden.py`), as are the messages of other services.
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
from contracts.base import Event
from contracts.consumers import durables
from contracts.errors import ErrorKind, Problem
from contracts.headers import DATA_SCHEMA, DEADLINE, SERVICE_ERROR_CODE, EventHeaders
from contracts.payments import CreatePayment, CreatePayments, PaymentStatus
from contracts.users import CreateUser
from kit.messaging.broker import Broker
from tests.architecture.messages import REQUESTS
from tests.contracts.test_golden import FILES
from tests.support import payments_harness, users_harness
from tests.support.service_harness import Service
from tests.support.users_harness import LOW_COST, PASSWORD, new_email

FAKED = ("payments", "users")
HANDLED = {
    request.subject: request for request in REQUESTS if request.subject.startswith(tuple(f"{s}." for s in FAKED))
}
CONSUMED = {durable.message.subject.partition(".{")[0]: durable for durable in durables() if durable.service in FAKED}
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


@golden_of(CONSUMED)
async def test_old_commands_and_events_have_their_effect(file: Path) -> None:
    subject, headers, body = recorded(file)
    await has_effect(file, subject, headers, body)


@golden_of({kind: durable for kind, durable in CONSUMED.items() if issubclass(durable.message, Event)})
async def test_events_without_a_schema_version_have_their_effect(file: Path) -> None:
    subject, headers, body = recorded(file)
    assert headers.pop(DATA_SCHEMA)
    assert EventHeaders.model_validate(headers).data_schema is None
    await has_effect(file, subject, headers, body)


async def has_effect(file: Path, subject: str, headers: dict[str, str], body: bytes) -> None:
    """Check that the consumer of a golden message handles it."""
    durable = CONSUMED[file.stem]
    message = durable.message.model_validate_json(body)
    async with payments_harness.in_memory() as service:
        await service.broker.publish(body, subject, headers=headers, stream=durable.stream.name)
        if isinstance(message, Event):
            payer = await service.payer(message.aggregate_id)
            assert payer is not None
            assert payer[0] == message.aggregate_version
            return
        if isinstance(message, CreatePayments):
            ids = [item.command.id for item in message.items]
        else:
            ids = [CreatePayment.model_validate_json(body).id]
        for payment_id in ids:
            payment = await service.get(payment_id)
            assert payment is not None
            assert payment.status is not PaymentStatus.PENDING


def test_every_consumer_has_a_golden_message() -> None:
    assert set(CONSUMED) | set(HANDLED) <= {file.stem for file in FILES}
