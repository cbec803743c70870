"""Shards of the payments: each has separate streams, durable consumers and a database, see docs/adr/0045-shards.md.

A payment belongs to the shard of its caller, whose hash its id carries. With one shard all names are those of the
contracts.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

MAX_SHARDS = 16
"""Each shard consumes from the event stream of each other: 16 shards have 480 such consumers."""
_HASH_BITS = 16
_NAME = re.compile(r"([0-9]{1,2})of([0-9]{1,2})")


@dataclass(frozen=True)
class Shard:
    """One of `count` shards; numbers begin with 0."""

    number: int = 0
    count: int = 1

    @property
    def name(self) -> str:
        """The shard in subjects and names, such as `0of2`; empty for the only shard.

        It has both numbers, so that the names before and after a change of the number of shards differ.
        """
        return f"{self.number}of{self.count}" if self.count > 1 else ""

    def subject(self, subject: str) -> str:
        """Return a subject with the name of this shard after its first token: `payments.0of2.get_many`."""
        if self.count == 1:
            return subject
        owner, _, rest = subject.partition(".")
        return f"{owner}.{self.name}.{rest}"

    def suffixed(self, name: str, separator: str) -> str:
        """Return a name with that of this shard at its end; the only shard leaves it as it is."""
        return f"{name}{separator}{self.name}" if self.count > 1 else name


ONLY = Shard()
"""The only shard."""


class Shards:
    """All shards. Raises `ValueError` for a number below 1 or above `MAX_SHARDS`."""

    def __init__(self, count: int = 1) -> None:
        if not 1 <= count <= MAX_SHARDS:
            raise ValueError(f"the number of shards must be 1 to {MAX_SHARDS}, not {count}")
        self.count = count
        self.all = tuple(Shard(number, count) for number in range(count))

    def of_payment(self, payment: UUID) -> Shard:
        """Return the shard that has the payment with this id, if there is one."""
        return self.all[shard_number(payment.int >> _HASH_BITS & 0xFFFF, self.count)]

    def of_user(self, user: UUID) -> Shard:
        """Return the shard of the payments that this user makes, and of the list of those that the user pays."""
        return self.all[shard_number(int.from_bytes(user_hash(user), "big"), self.count)]


ALL_IN_ONE = Shards()
"""One shard, the default."""


def shard_number(hashed: int, count: int) -> int:
    """Return the number of the shard for a hash of 16 bits: `count` ranges of equal size.

    Twice as many shards split each range in two: shard 1 of 2 becomes shards 2 and 3 of 4.
    """
    return hashed * count >> _HASH_BITS


@lru_cache(maxsize=4096)
def user_hash(user: UUID) -> bytes:
    """Return the two bytes of a user's hash that the id of every payment of this caller has."""
    return hashlib.sha256(b"mkstore/caller\0" + user.bytes).digest()[:2]


@lru_cache(maxsize=1024)
def shard_in(subject: str) -> Shard:
    """Return the shard whose name is in a subject; the only shard if there is none."""
    tokens = subject.split(".")
    return _named(tokens[1]) or ONLY if len(tokens) > 1 else ONLY


@lru_cache(maxsize=1024)
def contract_subject(subject: str) -> str:
    """Return a subject as its contract has it: without the shard, and without that of the payer at the end."""
    if not _NAME.search(subject):
        return subject
    owner, *tokens = subject.split(".")
    if not tokens or _named(tokens[0]) is None:
        return subject
    if _named(tokens[-1]) is not None:
        del tokens[-1]
    return ".".join([owner, *tokens[1:]])


def _named(token: str) -> Shard | None:
    match = _NAME.fullmatch(token)
    return Shard(int(match[1]), int(match[2])) if match and int(match[2]) > 1 else None
