"""Payment acceptance in front of a scripted payments service and a fake queue."""

from typing import Any
from uuid import UUID

from apps.gateway.auth import Caller
from apps.gateway.deps import payment_loader, user_loader
from apps.gateway.payments.accept import AcceptedPayment, PaymentAcceptance, new_command
from apps.gateway.payments.ids import BatchIds, payment_id
from apps.gateway.payments.waiters import Waiters
from contracts.errors import ErrorKind, Problem
from contracts.headers import SERVICE_ERROR_CODE
from contracts.payments import Charge, CreatePayment, PaymentList, PaymentStatus, PaymentView
from contracts.users import UserList
from kit.messaging.client import RequestClient
from kit.tokens import Claims
from mkstore.testing.broker import MemoryBroker
from mkstore.testing.fakes.payment_queue import FakePaymentQueue

ADA, BOB = UUID(int=1), UUID(int=2)


class Reply:
    """A reply on NATS."""

    def __init__(self, body: PaymentView | PaymentList | UserList | Problem) -> None:
        if isinstance(body, PaymentView):
            body = PaymentList(payments=(body,))
        self.body = body.model_dump_json().encode()
        self.headers = {SERVICE_ERROR_CODE: "x"} if isinstance(body, Problem) else {}


NOT_FOUND = Reply(PaymentList(payments=()))
NO_USER = Reply(UserList(users=()))


def refusal(kind: ErrorKind) -> Reply:
    return Reply(Problem(kind=kind, slug="x", detail="x"))


class ScriptedBroker(MemoryBroker):
    """A broker whose requests get the scripted replies in turn, the last one repeatedly."""

    def __init__(self, *replies: Reply | Exception) -> None:
        super().__init__()
        self.replies = list(replies)

    async def request(self, message: Any, subject: str, *args: Any, **options: Any) -> Any:
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply


def charge(amount: int = 1999) -> Charge:
    return Charge(amount=amount, currency="USD", metadata={"order": "A-1"})


def command(amount: int = 1999, key: str | None = "a key", payer: UUID = ADA) -> CreatePayment:
    return new_command(charge(amount), payer, payment_id(ADA, key) if key else BatchIds().next(ADA))


def recorded(command: CreatePayment, status: PaymentStatus = PaymentStatus.CREATED) -> PaymentView:
    return command.pending().model_copy(update={"status": status})


def admin() -> Caller:
    return Caller(Claims(sub=ADA, sid=ADA, role="admin", jti=ADA, iat=0, exp=1))


class AcceptanceHarness:
    """Payment acceptance whose payments service gives `replies`; nothing consumes its queue."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.broker = ScriptedBroker(*replies)
        self.queue = FakePaymentQueue()
        client = RequestClient(self.broker)
        self.acceptance = PaymentAcceptance(
            find_recorded=payment_loader(client, queued=False),
            find_payment=payment_loader(client),
            find_user=user_loader(client),
            broker=self.broker,
            queue=self.queue,
            waiters=Waiters(),
            timeout=60.0,
        )

    async def accept(
        self, amount: int = 1999, *, key: str | None = "a key", payer: UUID = ADA, wait: int | None = None
    ) -> AcceptedPayment:
        return await self.acceptance.accept(charge(amount), admin(), payer=payer, key=key, wait=wait)
