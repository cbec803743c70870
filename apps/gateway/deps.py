"""What a route may ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response, Security
from fastapi.security import OAuth2PasswordBearer

from apps.gateway.auth import JwksVerifier
from apps.gateway.errors import Forbidden, Unauthorized
from apps.gateway.http.backpressure import remaining, with_deadline
from apps.gateway.http.rate_limits import RateLimits
from apps.gateway.payments.accept import PaymentAcceptance
from apps.gateway.payments.waiters import Waiters
from apps.gateway.sse.broadcaster import Broadcaster
from contracts.base import Reply
from contracts.base import Request as Asked
from contracts.payments import GetPayments, PaymentView
from contracts.users import GetUsers, Role, UserView
from kit.batching import BatchLoader
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.ops.health import Health
from kit.tokens import Claims
from portal.live import SystemMonitor


class Services:
    """The services behind the gateway: `ask` for anything, gathered reads for what is read most."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        self._client = RequestClient(broker, timeout)
        self._timeout = timeout
        self._users_by_id: BatchLoader[UUID, UserView | None] = BatchLoader(self._users)
        self._payments_by_id: BatchLoader[UUID, PaymentView | None] = BatchLoader(self._payments)

    async def ask(self, request: Asked[Reply]) -> Reply:
        """Ask in what is left of the time of the request at hand; raises what `RequestClient.request` does."""
        return await self._client.request(request, timeout=remaining(self._timeout))

    async def ask_for_many(self, request: Asked[Reply]) -> Reply:
        """Ask for several requests at once: in a time of its own, for it is none of theirs."""
        return await self._client.request(request)

    async def user(self, user: UUID) -> UserView | None:
        """Return a user; None where there is none."""
        return await with_deadline(self._users_by_id(user), self._timeout, "users service")

    async def payment(self, payment: UUID) -> PaymentView | None:
        """Return a payment, recorded or waiting; None where there is none."""
        return await with_deadline(self._payments_by_id(payment), self._timeout, "payments service")

    async def _users(self, ids: Sequence[UUID]) -> list[UserView | None]:
        reply = await self.ask_for_many(GetUsers(ids=tuple(set(ids))))
        found = {user.id: user for user in reply.users}
        return [found.get(one) for one in ids]

    async def _payments(self, ids: Sequence[UUID]) -> list[PaymentView | None]:
        reply = await self.ask_for_many(GetPayments(ids=tuple(set(ids))))
        found = {payment.id: payment for payment in reply.payments}
        return [found.get(one) for one in ids]


@dataclass(frozen=True)
class Dependencies:
    """What the composition root builds for the routes."""

    services: Services
    intake: PaymentAcceptance
    waiters: Waiters
    feed: Broadcaster
    keys: JwksVerifier
    limits: RateLimits
    health: Health
    watch: SystemMonitor | None = None
    """Looks at what goes on now; None where nobody shall."""
    watch_is_open: bool = False
    """Whether everybody may look, and not only admins."""


async def _parts(request: Request) -> Dependencies:
    parts: Dependencies = request.app.state.parts
    return parts


Gateway = Annotated[Dependencies, Depends(_parts)]


class Caller:
    """Whose token came with the request."""

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self.id = claims.sub
        self.is_admin = claims.role == Role.ADMIN

    def may_see(self, user: UUID) -> bool:
        """Tell whether what belongs to `user` is shown to this caller."""
        return self.is_admin or user == self.id

    def require_admin(self) -> None:
        """Raise where the caller is none."""
        if not self.is_admin:
            raise Forbidden("This is for admins.")


_bearer = OAuth2PasswordBearer("/auth/token", auto_error=False, description="The access token of POST /auth/token.")


async def address_limit(request: Request, gateway: Gateway) -> None:
    """Count the request against its address, before anything is done for it."""
    await gateway.limits.hit("address", address(request))


Token = Annotated[str | None, Security(_bearer)]


async def signed_in(token: Token, gateway: Gateway, response: Response) -> Caller:
    """Return whose token it is; raises `Unauthorized` where there is none, or none that is good."""
    if token is None:
        raise Unauthorized("This needs an access token: Authorization: Bearer ...")
    caller = Caller(await gateway.keys.claims(token))
    await gateway.limits.hit("caller", str(caller.id), response)
    return caller


CurrentUser = Annotated[Caller, Depends(signed_in)]


def address(request: Request) -> str:
    """Return where a request comes from; behind a proxy that is what the proxy says, if the server trusts it."""
    return request.client.host if request.client else "unknown"
