"""A contender that runs: its address, its users, and how its HTTP API differs from that of the others."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg

from mkstore.bench.load.calls import UNIQUE, Call, json_call

PASSWORD = "a long enough sentence"  # noqa: S105 - of simulated users
_ACCEPTED = (201, 202)


@dataclass(frozen=True)
class Account:
    """A user, with a token where the contender has authentication."""

    id: Any
    email: str
    token: str = field(default="", repr=False)
    is_admin: bool = False


async def _unchanged(accounts: Sequence[Account]) -> Sequence[Account]:
    return accounts


@dataclass
class Target:
    """A running contender."""

    name: str
    url: str
    parts: Callable[[], Mapping[str, int]]
    """Returns the pids of its parts, by name; `nats` and `postgres` are the servers, the others its own processes."""
    users: Sequence[Account] = ()
    admins: Sequence[Account] = ()
    """Users who may list all payments; where anybody may, any users."""
    payments_url: str = ""
    """Address of the database with the payments."""
    other_payments_urls: Sequence[str] = ()
    """Addresses of the databases of further shards."""
    command_streams: Sequence[str] = ()
    """The streams with the messages that carry payments, if they are known."""
    outbox: bool = False
    """Whether that database has an outbox, which is drained later than the payments are recorded."""
    nats_admin_url: str = ""
    takes_keys: bool = False
    """Whether it knows `Idempotency-Key`."""
    names_payer: bool = True
    """Whether the body of a payment has a `userId`; otherwise the token says who pays."""
    answers_payment: bool = False
    """Whether the response to a payment is the payment."""
    sign_in: Callable[[Account], Call] | None = None
    renew: Callable[[Sequence[Account]], Awaitable[Sequence[Account]]] = _unchanged
    """Returns accounts with new tokens."""
    limits: Callable[[int], Awaitable[Mapping[str, float]]] | None = None
    """Measures operations without HTTP for some seconds; returns rates by name."""

    def get_user(self, account: Account) -> Call:
        """Return the request for a user's own record."""
        return Call("GET", f"/users/{account.id}", token=account.token, expected={"id": account.id})

    def pay(self, account: Account, random: Random, *, keyed: bool = False) -> Call:
        """Return a payment of a random amount; each time it is sent, metadata and key are different."""
        amount = random.randint(1, 1_000_000)
        content = {"amount": amount, "currency": random.choice(("USD", "EUR", "JPY")), "metadata": {"order": UNIQUE}}
        expected = {"amount": amount} if self.answers_payment else {}
        if self.names_payer:
            content = {"userId": account.id, **content}
        headers = {"Idempotency-Key": f"order-{UNIQUE}"} if keyed and self.takes_keys else {}
        return json_call(
            "POST", "/payments", content, status=_ACCEPTED, token=account.token, headers=headers, expected=expected
        )

    def get_payment(self, account: Account, payment: Any) -> Call:
        """Return the request for a payment of `account`."""
        return Call("GET", f"/payments/{payment}", token=account.token, expected={"id": payment})

    def list_payments(self, account: Account, limit: int = 20, cursor: str = "") -> Call:
        """Return the request for a page of payments."""
        query = f"limit={limit}" + (f"&cursor={cursor}" if cursor else "")
        return Call("GET", f"/payments?{query}", token=account.token)

    def sign_up(self) -> Call:
        """Return the sign-up of a user with another email each time."""
        content = {"email": f"sign-up-{UNIQUE}@example.com", "password": PASSWORD, "name": "Ada"}
        return json_call("POST", "/users", content, status=(201,))

    @asynccontextmanager
    async def payments_database(self) -> AsyncIterator[asyncpg.Connection]:
        """Connect to the database with the payments."""
        connection = await asyncpg.connect(self.payments_url)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def payments_databases(self) -> AsyncIterator[list[asyncpg.Connection]]:
        """Connect to the databases of all shards."""
        async with AsyncExitStack() as stack:
            connections = []
            for url in (self.payments_url, *self.other_payments_urls):
                connection = await asyncpg.connect(url)
                stack.push_async_callback(connection.close)
                connections.append(connection)
            yield connections
