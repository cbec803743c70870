"""The dependencies of the routes."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from apps.gateway import auth
from apps.gateway.errors import Unauthorized
from apps.gateway.http.addresses import address_of
from apps.gateway.http.backpressure import Capacity, remaining, with_deadline
from apps.gateway.http.guessing import Guesses
from apps.gateway.http.rate_limits import RateLimits
from apps.gateway.payments.accept import PaymentAcceptance
from apps.gateway.payments.lists import PaymentLists
from apps.gateway.payments.waiters import Waiters
from apps.gateway.public_keys import PublishedKeys
from apps.gateway.revocations import Revocations
from apps.gateway.sse.broadcaster import Broadcaster
from contracts import base
from contracts.payments import GetPayments, ListPayments, PaymentPage, PaymentView
from contracts.shards import ALL_IN_ONE, Shard, Shards
from contracts.users import GetUsers, UserView
from kit.batching import BatchLoader, Loader, PartitionedLoader
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.messaging.demand import Demand
from kit.ops.durability import Durability
from kit.ops.health import Health
from kit.runtime.clock import SYSTEM_CLOCK, SystemClock
from portal.live import SystemMonitor
from portal.traces import Traces

View = TypeVar("View", UserView, PaymentView)
UserLoader = Loader[UUID, UserView | None]
PaymentLoader = Loader[UUID, PaymentView | None]


@dataclass(frozen=True)
class Dependencies:
    """What the composition root builds for the routes; tests replace parts of it."""

    broker: Broker
    client: RequestClient
    users: UserLoader
    payments: PaymentLoader
    acceptance: PaymentAcceptance
    waiters: Waiters
    broadcaster: Broadcaster
    payment_lists: PaymentLists
    payment_events: Sequence[Demand]
    """Of each shard the demand for its events."""
    verifier: auth.TokenVerifier
    public_keys: PublishedKeys
    revocations: Revocations
    rate_limits: RateLimits
    capacity: Capacity
    guesses: Guesses
    durability: Durability
    health: Health
    timeout: float
    """Time of one HTTP request for the services, in seconds."""
    clock: SystemClock = SYSTEM_CLOCK
    has_documentation: bool = True
    """Whether the documentation site and the OpenAPI document are served."""
    monitor: SystemMonitor | None = None
    """Source of the live figures on the documentation site; None disables them."""
    traces: Traces | None = None
    """Source of the spans of requests on the documentation site; None disables them."""
    live_for_admins: bool = True
    """Whether only admins see the live figures and the traces."""

    async def request(self, request: base.Request[base.Reply]) -> base.Reply:
        """Send a request in the time that the HTTP request has left. Raises what `RequestClient.request` raises."""
        return await self.client.request(request, timeout=remaining(self.timeout))

    def own_password(self, caller: auth.Caller, request: Request) -> AbstractAsyncContextManager[None]:
        """Count a guess at the caller's own password, see `Guesses.attempt`.

        Per user, address and session: a stolen token cannot keep the owner from changing the password elsewhere.
        """
        return self.guesses.attempt(f"user/{caller.id}", address(request), str(caller.claims.sid))

    async def user(self, user_id: UUID) -> UserView | None:
        """Return a user, or None if it does not exist."""
        return await with_deadline(self.users, user_id, self.timeout, "users service")

    async def payment(self, payment_id: UUID) -> PaymentView | None:
        """Return a payment, recorded or pending, or None if it does not exist."""
        return await with_deadline(self.payments, payment_id, self.timeout, "payments service")

    async def list_payments(self, wanted: ListPayments) -> PaymentPage:
        """Return a page of payments of one user, or of all. Raises what `RequestClient.request` raises."""
        return await self.payment_lists.page(wanted, timeout=remaining(self.timeout))


def user_loader(client: RequestClient) -> UserLoader:
    """Return a loader of users; None for an unknown id."""

    async def load(ids: Sequence[UUID]) -> list[UserView | None]:
        reply = await client.request(GetUsers(ids=tuple(set(ids))))
        return _in_order(ids, reply.users)

    return BatchLoader(load)


def payment_loader(client: RequestClient, shards: Shards = ALL_IN_ONE, *, queued: bool = True) -> PaymentLoader:
    """Return a loader of payments; None for an unknown id, and without `queued` for one that is only in a queue."""

    def loader_of(shard: Shard) -> PaymentLoader:
        async def load(ids: Sequence[UUID]) -> list[PaymentView | None]:
            reply = await client.request(GetPayments(ids=tuple(set(ids)), queued=queued), shard=shard)
            return _in_order(ids, reply.payments)

        return BatchLoader(load)

    loaders = [loader_of(shard) for shard in shards.all]
    if shards.count == 1:
        return loaders[0]
    return PartitionedLoader(lambda payment: loaders[shards.of_payment(payment).number])


def _in_order(ids: Sequence[UUID], views: Sequence[View]) -> list[View | None]:
    by_id = {view.id: view for view in views}
    return [by_id.get(one) for one in ids]


async def _dependencies(request: Request) -> Dependencies:
    deps: Dependencies = request.app.state.deps
    return deps


Deps = Annotated[Dependencies, Depends(_dependencies)]


bearer = HTTPBearer(bearerFormat="JWT", auto_error=False, description="The access token of POST /auth/sessions.")
Token = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


async def current_user(request: Request, token: Token, deps: Deps, response: Response) -> auth.Caller:
    """Return the caller. Raises `Unauthorized` if there is no valid token, `TooManyRequests` above the limit."""
    if token is None:
        raise Unauthorized("An access token is required: Authorization: Bearer ...")
    caller = auth.Caller(await deps.verifier.claims(token.credentials))
    request.state.caller = caller.id  # for the access log
    await deps.rate_limits.hit("caller", caller.id.hex, response.headers)
    return caller


CurrentUser = Annotated[auth.Caller, Depends(current_user)]


def address(request: Request) -> str:
    """Return the client's address; behind a trusted proxy, the one that the proxy names."""
    return address_of(request.scope)
