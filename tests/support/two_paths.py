"""Two gateways in memory with the same users and payments: one with the fast path, one with FastAPI alone."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.gateway.fast_path import FastPath
from apps.gateway.http.rate_limits import RateLimits
from apps.gateway.http.request_counters import MemoryCounter
from apps.gateway.main import create_api, create_dependencies
from apps.gateway.payments.batches import Assigned, NewCommand
from apps.gateway.public_keys import PublishedKeys
from contracts.errors import ErrorKind, Problem
from contracts.keys import JsonWebKeySet
from contracts.payments import CreatePayment, GetPayments, PaymentList, PaymentStatus, PaymentView
from contracts.users import GetUsers, Role, UserList, UserView
from kit.errors import OutcomeUnknown, Unavailable
from kit.runtime.tracing import Trace
from mkstore.testing.broker import MemoryBroker
from mkstore.testing.fakes.history import FakeHistory
from mkstore.testing.fakes.payment_queue import FakePaymentQueue
from mkstore.testing.signing_keys import signer, signing_key
from tests.support.acceptance_harness import Reply
from tests.support.clock import Clock
from tests.support.middleware import middleware
from tests.support.revoked import caught_up, no_stored_keys, user_revoked
from tests.support.store import settings

ADA, BOB, ROOT, NOBODY = (UUID(f"0198c5c8-7c1e-7a52-9d3b-00000000000{number}") for number in range(4))
ADAS_PAYMENT, BOBS_PAYMENT = (UUID(f"0198c5c8-7c1e-7a52-9d3b-00000000001{number}") for number in range(2))
_AT = datetime(2026, 1, 31, 12, 0, 0, 125000, tzinfo=UTC)
USERS = {
    user: UserView(
        id=user,
        email=f"{name}@example.com",
        name=name,
        role=role,
        disabled=False,
        version=3,
        created_at=_AT,
        updated_at=_AT,
    )
    for user, name, role in ((ADA, 'Ada "Ä" \u2028', Role.USER), (BOB, None, Role.USER), (ROOT, "root", Role.ADMIN))
}
PAYMENTS = {
    payment: PaymentView(
        id=payment,
        user_id=user,
        amount=1999,
        currency="JPY",
        metadata={"ä": "\u2028", "a": ""},
        status=status,
        reason=reason,
        created_at=_AT,
    )
    for payment, user, status, reason in (
        (ADAS_PAYMENT, ADA, PaymentStatus.CREATED, None),
        (BOBS_PAYMENT, BOB, PaymentStatus.REJECTED, "amount-over-limit"),
    )
}
CALLER_LIMIT, ADDRESS_LIMIT = 4, 5


def tokens() -> dict[str, str]:
    """Return tokens by name, valid and invalid ones."""
    usual = signer(timedelta(minutes=30))
    ada = usual.sign(ADA, "user", uuid4())
    return {
        "ada": ada,
        "bob": usual.sign(BOB, "user", uuid4()),
        "root": usual.sign(ROOT, "admin", uuid4()),
        "unknown": usual.sign(NOBODY, "user", uuid4()),
        "revoked": signer(timedelta(minutes=30)).sign(UUID(int=7), "user", uuid4()),
        "expired": signer(timedelta(minutes=-1)).sign(ADA, "user", uuid4()),
        "stranger": signer(timedelta(minutes=30), number=10).sign(ADA, "admin", uuid4()),
        "forged": ada[:-1] + ("g" if ada[-1] in "AQw" else "A"),
        "garbage": "x",
    }


@dataclass
class Outage:
    """A failure of the services or of the queue, the same for both gateways."""

    users: Exception | Problem | None = None
    payments: Exception | Problem | None = None
    queue: Unavailable | OutcomeUnknown | None = None


OUTAGES = {
    "none": Outage(),
    "users away": Outage(users=NoRespondersError()),
    "users silent": Outage(users=NatsTimeout()),
    "users broken": Outage(users=RuntimeError("a secret")),
    "users refuse": Outage(users=Problem(kind=ErrorKind.INVALID, slug="x", detail="x")),
    "payments away": Outage(payments=NoRespondersError()),
    "payments broken": Outage(payments=RuntimeError("a secret")),
    "payments refuse": Outage(payments=Problem(kind=ErrorKind.INTERNAL, slug="x", detail="x")),
    "queue full": Outage(queue=Unavailable("payment queue")),
    "queue silent": Outage(queue=OutcomeUnknown("message broker")),
}


class _Services(MemoryBroker):
    """A broker whose users and payments services answer from dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.outage = Outage()
        self.queue: FakePaymentQueue | None = None

    async def request(self, message: Any, subject: str, *args: Any, **options: Any) -> Any:
        failure = self.outage.users if subject.startswith("users.") else self.outage.payments
        if isinstance(failure, Exception):
            raise failure
        if isinstance(failure, Problem):
            return Reply(failure)
        if subject == GetUsers.subject:
            wanted = GetUsers.model_validate_json(message).ids
            return _UsersReply(tuple(USERS[one] for one in wanted if one in USERS))
        if subject == GetPayments.subject:
            wanted_payments = GetPayments.model_validate_json(message)
            found = [self._payment(one, queued=wanted_payments.queued) for one in wanted_payments.ids]
            return Reply(PaymentList(payments=tuple(one for one in found if one)))
        raise NoRespondersError

    def _payment(self, payment: UUID, *, queued: bool) -> PaymentView | None:
        assert self.queue
        pending = self.queue.pending.get(payment) if queued else None
        return PAYMENTS.get(payment) or (pending[0].pending() if pending else None)


class _UsersReply:
    def __init__(self, users: Sequence[UserView]) -> None:
        self.body = UserList(users=tuple(users)).model_dump_json().encode()
        self.headers: dict[str, str] = {}


@dataclass(frozen=True)
class HttpRequest:
    """A request as a server passes it to an application; `parts` of the body come one after the other."""

    method: str
    path: str
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    parts: tuple[bytes, ...] = (b"",)
    client: str = "10.0.0.1"


@dataclass
class Answer:
    """What a client receives, and what the server does."""

    status: int = 0
    headers: dict[bytes, list[bytes]] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""

    def comparable(self) -> "Answer":
        """Return the answer without what differs between two requests: new ids, and the time of a new payment."""
        headers = {name: [_without_ids(value) for value in values] for name, values in self.headers.items()}
        return replace(self, headers=headers, body=_without_ids(self.body))


def _without_ids(text: bytes) -> bytes:
    text = re.sub(rb"\b[0-9a-f]{32}\b", b"<request id>", text)
    text = re.sub(rb"\b(?!0198c5c8)[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", b"<id>", text)
    return re.sub(rb'"createdAt":"(?!2026-01-31)[^"]*"', b'"createdAt":"<time>"', text)


class Path:
    """One gateway, with fakes behind it; `fast` puts the fast path in front of FastAPI."""

    def __init__(self, *, fast: bool) -> None:
        self._services = _Services()
        self.queue = FakePaymentQueue()
        self._services.queue = self.queue
        self.clock = Clock()
        deps = create_dependencies(settings(), self._services, self.queue, FakeHistory())
        limits = {"caller": CALLER_LIMIT, "address": ADDRESS_LIMIT}
        counters = {name: MemoryCounter(limit, 60, clock=self.clock) for name, limit in limits.items()}
        revocations = caught_up()
        revocations.apply(user_revoked(UUID(int=7), sessions_after=UUID(int=(1 << 128) - 1)))
        keys = PublishedKeys(no_stored_keys, clock=self.clock)
        keys.apply(JsonWebKeySet(keys=(signing_key().view(),)))
        self.deps = replace(
            deps,
            rate_limits=RateLimits(counters, enabled=True),
            verifier=type(deps.verifier)(keys, revocations),
            public_keys=keys,
            revocations=revocations,
        )
        api = create_api(self.deps)
        self.through_fastapi = 0

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            self.through_fastapi += 1
            await api(scope, receive, send)

        self.app: ASGIApp = middleware(
            FastPath(counted, self.deps) if fast else counted, rate_limits=self.deps.rate_limits
        )

    def next_minute(self, outage: Outage) -> None:
        """Forget what was counted, and begin an outage."""
        self.clock.now += 600.0
        self.deps.public_keys.confirm()
        self._services.outage = outage
        self.queue.refusal = outage.queue
        self.queue.record_all()

    def count_publishes(self, failure: Exception | None = None) -> list[CreatePayment]:
        """Return a list that gets each command that is about to be published; then `failure` is raised."""
        attempts, publish, publish_keyed = list[CreatePayment](), self.queue.publish, self.queue.publish_keyed

        async def counted(new: NewCommand, caller: UUID, assigned: Assigned) -> CreatePayment:
            attempts.append(new(UUID(int=0)))
            command = await publish(new, caller, assigned)
            if failure:
                raise failure
            return command

        async def counted_keyed(command: CreatePayment) -> bool:
            attempts.append(command)
            accepted = await publish_keyed(command)
            if failure:
                raise failure
            return accepted

        self.queue.publish = counted  # type: ignore[method-assign]
        self.queue.publish_keyed = counted_keyed  # type: ignore[method-assign]
        return attempts

    def published(self) -> list[tuple[Any, ...]]:
        """Return what is known of the published commands, without the ids and times of new ones."""
        return [
            (command.id if command.id.version == 8 else None, *_order(command), _given(origin))
            for command, origin in self.queue.pending.values()
        ]

    async def send(self, request: HttpRequest) -> Answer:
        """Send a request to the application."""
        answer, parts = Answer(), list(request.parts)

        async def receive() -> Message:
            if not parts:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                for name, value in message["headers"]:
                    answer.headers.setdefault(name, []).append(value)
            else:
                answer.body += message.get("body", b"")

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "server": ("127.0.0.1", 3000), "client": (request.client, 1), "scheme": "http", "root_path": "",
            "method": request.method, "path": request.path, "raw_path": request.path.encode(),
            "query_string": request.query, "headers": list(request.headers), "state": {},
        }  # fmt: skip
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - a server logs it; both paths raise the same
            answer.error = repr(error)
        return answer


def _order(command: CreatePayment) -> tuple[Any, ...]:
    return command.user_id, command.amount, command.currency, json.dumps(command.metadata)


def _given(origin: Trace) -> tuple[str, ...]:
    return tuple(part for part in origin if part.startswith(("given", "00-4bf9")))
