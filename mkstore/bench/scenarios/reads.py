"""The requests of the scenarios that change nothing but users and sessions."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any
from uuid import UUID

from mkstore.bench.load.calls import Call
from mkstore.bench.load.tables import column_of
from mkstore.bench.load.target import Target
from mkstore.bench.scenarios.recording import payments_table, wait_until_drained
from mkstore.chaos.http_client import Api

_AT_ONCE = 16
_ATTEMPTS = 3


class PreparationFailed(Exception):
    """What a scenario needs could not be created."""


async def users_many(target: Target, _: Random) -> Sequence[Call]:
    """Return a read by each user, with its own token."""
    return [target.get_user(account) for account in target.users]


async def users_one(target: Target, random: Random) -> Sequence[Call]:
    """Return a read by one user."""
    return [target.get_user(random.choice(target.users))]


async def payments_by_id(target: Target, random: Random) -> Sequence[Call]:
    """Return a read of one recorded payment of each user."""
    await send_all(target, [target.pay(account, random) for account in target.users])
    owners = {account.id: account for account in target.users}
    await wait_until_drained(target, len(owners))
    async with target.payments_database() as connection:
        table = await payments_table(connection)
        payer = await column_of(connection, table, "user_id", "userId")
        rows = await connection.fetch(f"SELECT id, {payer} AS payer FROM {table}")  # noqa: S608 - found names
    found = [(owner, _plain(row["id"])) for row in rows if (owner := owners.get(_plain(row["payer"])))]
    if len(found) < len(owners):
        raise PreparationFailed(f"{target.name}: only {len(found)} of {len(owners)} payments are recorded")
    return [target.get_payment(owner, payment) for owner, payment in found[-len(owners) :]]


async def sign_ups(target: Target, _: Random) -> Sequence[Call]:
    """Return a sign-up, with another email each time."""
    return [target.sign_up()]


async def sign_ins(target: Target, _: Random) -> Sequence[Call]:
    """Return a sign-in of each user."""
    return [target.sign_in(account) for account in target.users] if target.sign_in else []


async def send_all(target: Target, calls: Sequence[Call]) -> None:
    """Send each request, up to three times. Raises `PreparationFailed` if the last response is wrong too."""
    waiting = list(calls)

    async def work(api: Api) -> None:
        while waiting:
            call, fault = waiting.pop(), ""
            for _ in range(_ATTEMPTS):
                if not (fault := call.fault(await call.send(api))):
                    break
            if fault:
                raise PreparationFailed(f"{target.name}: {fault}")

    async with Api(target.url) as api:
        await asyncio.gather(*(work(api) for _ in range(_AT_ONCE)))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value
