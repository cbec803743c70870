"""The store of this project as a contender: started by `mkstore up` on a temporary state folder."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from contracts.shards import Shard, shard_in
from contracts.streams import PAYMENT_COMMANDS
from mkstore.bench.contenders.seed import seed_store, sign_tokens
from mkstore.bench.load.calls import Call
from mkstore.bench.load.target import PASSWORD, Account, Target
from mkstore.chaos.store import Store
from mkstore.chaos.temporary_store import Kind, running

_CEILING = "1000000000/minute"
LIMITS_ON = {
    "RATE_LIMIT_ENABLED": "true",
    "RATE_LIMIT_CALLER": _CEILING,
    "RATE_LIMIT_ADDRESS": _CEILING,
    "RATE_LIMIT_SIGN_UP": _CEILING,
    "RATE_LIMIT_SESSION": _CEILING,
    "RATE_LIMIT_EMAIL_CHANGE": _CEILING,
    "RATE_LIMIT_ACCOUNT": _CEILING,
    "RATE_LIMIT_ACCOUNT_TOTAL": _CEILING,
}
"""Settings that count every request against ceilings that no load reaches: the defaults would refuse it at once."""
LIMITS_OFF = {"RATE_LIMIT_ENABLED": "false"}
_QUIET = {"FAILPOINTS": "", "LOG_LEVEL": "WARNING", "ACCESS_LOG": "false"}
TRACES = {**LIMITS_OFF, "OTEL_SDK_DISABLED": "false"}
ACCESS_LINE = {**LIMITS_OFF, "LOG_LEVEL": "INFO", "ACCESS_LOG": "true"}


@asynccontextmanager
async def running_store(name: str, settings: Mapping[str, str], users: int) -> AsyncIterator[Target]:
    """Run a store with `settings` and `users`, as `mkstore up` does.

    Raises `NotRecovered` if it does not start, `SeedFailed` if the users cannot be created.
    """
    async with running(Kind.DEFAULT, {**_QUIET, **settings}) as store:
        yield await store_target(name, store, users)


async def store_target(name: str, store: Store, users: int) -> Target:
    """Return a running store as a target, with new users. Raises `SeedFailed` if they cannot be created."""
    accounts, admins = await seed_store(store, users)
    shards = _shards_of(store)
    databases = [_database_url(store, f"{shard.suffixed('payments', '_')}_db") for shard in shards]
    return Target(
        name=name,
        url=store.url,
        parts=lambda: _pids(store),
        users=accounts,
        admins=admins,
        payments_url=databases[0],
        other_payments_urls=databases[1:],
        command_streams=[PAYMENT_COMMANDS.of(shard).name for shard in shards],
        outbox=True,
        nats_admin_url=str(store.record["nats"]["admin_url"]),
        takes_keys=True,
        names_payer=False,
        answers_payment=True,
        sign_in=_sign_in,
        renew=partial(sign_tokens, store),
    )


def _pids(store: Store) -> dict[str, int]:
    record = store.record
    return {part: int(entry["pid"]) for part, entry in record.items()}


def _shards_of(store: Store) -> list[Shard]:
    """Return the shards of a running store."""
    return [shard_in(f"payments.{part.partition('-')[2]}") for part in store.record if part.startswith("payments")]


def _database_url(store: Store, name: str) -> str:
    return urlunsplit(urlsplit(str(store.record["postgres"]["url"]))._replace(path=f"/{name}"))


def _sign_in(account: Account) -> Call:
    credentials = json.dumps({"email": account.email, "password": PASSWORD})
    return Call("POST", "/auth/sessions", status=(201,), body=credentials.encode())
