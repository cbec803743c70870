"""Every contender: this store with four settings, its peers, and the limits of the machine."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mkstore.bench.contenders.limits import running_app, running_nats, running_postgres
from mkstore.bench.contenders.peer_systems import running_peer
from mkstore.bench.contenders.stores import ACCESS_LINE, LIMITS_OFF, LIMITS_ON, TRACES, running_store
from mkstore.bench.load.target import Target
from mkstore.bench.peers import peers as every_peer
from mkstore.bench.scenarios.registry import EVENT_STREAMS, LIMITS, PAYMENTS, USERS_MANY

STORE, STORE_LIMITS_ON = "mkstore", "mkstore-limits-on"
STORE_ACCESS_LINE, STORE_TRACES = "mkstore-access-line", "mkstore-traces"
_ONLY_LIMITS = frozenset({LIMITS})
_WITHOUT = _ONLY_LIMITS | {EVENT_STREAMS}
_PEERS = {
    "nestjs-fastify": "the NestJS original on Fastify: a payment is sent over core NATS and answered at once",
    "nestjs-express": "the NestJS original on Express",
    "nestjs-durable-fastify": "the same on Fastify: a payment is answered after the acknowledgement of JetStream",
    "fastapi-monolith": "one FastAPI application without a broker: a payment is one INSERT",
}


@dataclass(frozen=True)
class Contender:
    """What takes turns under load.

    `running` starts it in a folder, with this number of users. It takes part in `only` these scenarios, if given, and
    never in those of `without`.
    """

    name: str
    description: str
    running: Callable[[Path, int], AbstractAsyncContextManager[Target]]
    only: frozenset[str] = frozenset()
    without: frozenset[str] = _WITHOUT
    by_default: bool = True
    """Whether it takes part unless contenders are named."""

    def takes_part(self, scenario: str) -> bool:
        """Return whether it has this scenario."""
        return scenario in self.only if self.only else scenario not in self.without


def every_contender() -> list[Contender]:
    """Return the contenders in the order of their turns."""
    return [*_stores(), *_sharded(), *_peers(), *_limits()]


def _peers() -> list[Contender]:
    return [Contender(peer.name, _PEERS.get(peer.name, "a peer"), partial(running_peer, peer)) for peer in every_peer()]


def _stores() -> list[Contender]:
    def store(settings: dict[str, str], name: str) -> Callable[[Path, int], AbstractAsyncContextManager[Target]]:
        return lambda _, users: running_store(name, settings, users)

    one_figure = frozenset({USERS_MANY})
    return [
        Contender(
            STORE,
            "this store, rate limits off, without an access line",
            store(LIMITS_OFF, STORE),
            without=_ONLY_LIMITS,
        ),
        Contender(
            STORE_LIMITS_ON,
            "the same with rate limits on, which the load does not reach",
            store(LIMITS_ON, STORE_LIMITS_ON),
            without=_ONLY_LIMITS,
        ),
        Contender(
            STORE_ACCESS_LINE, "the same with an access line", store(ACCESS_LINE, STORE_ACCESS_LINE), only=one_figure
        ),
        Contender(
            STORE_TRACES,
            "the same with a trace of each request, sent to the receiver of `mkstore up`",
            store(TRACES, STORE_TRACES),
            only=frozenset({USERS_MANY, PAYMENTS}),
        ),
    ]


def _sharded() -> list[Contender]:
    def running(name: str, shards: int) -> Callable[[Path, int], AbstractAsyncContextManager[Target]]:
        return lambda _, users: running_store(name, {**LIMITS_OFF, "SHARDS": str(shards)}, users)

    payments = frozenset({PAYMENTS})
    return [
        Contender(
            name, f"this store with {shards} shards of payments", running(name, shards), only=payments, by_default=False
        )
        for shards in (2, 4)
        for name in [f"{STORE}-{shards}-shards"]
    ]


def _limits() -> list[Contender]:
    reads, alone = frozenset({USERS_MANY}), frozenset({LIMITS})
    return [
        Contender(
            "limit-asgi",
            "a raw ASGI application with one constant response",
            lambda folder, users: running_app("limit-asgi", "raw_asgi", folder, users),
            only=reads,
        ),
        Contender(
            "limit-fastapi",
            "an empty FastAPI route",
            lambda folder, users: running_app("limit-fastapi", "empty_route", folder, users),
            only=reads,
        ),
        Contender("limit-nats", "NATS alone", lambda folder, _: running_nats("limit-nats", folder), only=alone),
        Contender(
            "limit-postgres",
            "PostgreSQL alone",
            lambda folder, _: running_postgres("limit-postgres", folder),
            only=alone,
        ),
    ]
