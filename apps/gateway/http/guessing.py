"""Limits of wrong passwords per account and address, and per account, that do not lock out the owner.

Each guess is counted before its password is checked, and given back when it was right: of many guesses at once only
those within the limit are judged. See docs/adr/0027-guessing.md.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from apps.gateway.errors import AtCapacity, TooManyRequests
from apps.gateway.http.addresses import address_key
from apps.gateway.http.expiring_counts import ExpiringCounts
from apps.gateway.http.rate_limits import limit_fields
from apps.gateway.http.request_counters import Usage
from contracts.errors import ErrorKind
from kit.errors import RemoteProblem

_PER_ADDRESS, _TOTAL = "account", "account_total"
_WRONG = frozenset({"invalid-credentials", "wrong-password"})
"""Slugs of the refusals that mean: this is not the password."""
_NOT_JUDGED = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.OUTCOME_UNKNOWN, ErrorKind.INTERNAL})
_DAY = 24 * 60 * 60
_NEW_ADDRESSES_PER_DAY = 32
"""Addresses of one account that become known per day: an account alone cannot fill the memory of the others."""


@dataclass(frozen=True)
class GuessingRules:
    """How many guesses may fail; all times are in seconds."""

    free: int
    """Failures per account and address without a wait."""
    window: int
    """Time after which the failures of an account and address are forgotten."""
    first_delay: int
    """Wait after the last free failure; each further failure doubles it."""
    max_delay: int
    """Longest wait."""
    total: int
    """Failures per account from all addresses that the owner has not signed in from."""
    total_window: int
    """Time after which those are forgotten."""
    strangers: int
    """Guesses at once, in this process, from addresses that are not known: the others keep the rest of the capacity."""
    known_for: int = 90 * _DAY
    """Time for which an address is known after a sign-in."""


class _Place(NamedTuple):
    """What one guess counts against."""

    pair: str
    total: str
    source: str
    is_known: bool
    closed_gate: bool


class Guesses:
    """Counts guesses by `rules`; nothing is counted unless `enabled`.

    `open_counts` returns the counts of one kind. An address is known for an account once its password was given there.
    """

    def __init__(self, rules: GuessingRules, open_counts: Callable[[str], ExpiringCounts], *, enabled: bool) -> None:
        self._rules = rules
        self._enabled = enabled
        self._failures = open_counts("failures")
        self._gates = open_counts("gates")
        """One per account and address that must wait: it expires when the next guess is allowed."""
        self._totals = open_counts("totals")
        self._known = open_counts("known")
        self._newcomers = open_counts("newcomers")
        self._strangers = 0

    @asynccontextmanager
    async def attempt(
        self, account: str, address: str, session: str = "", *, wrong: Collection[str] = _WRONG
    ) -> AsyncIterator[None]:
        """Count a guess at the password of `account` while the block asks for it.

        `wrong` has the slugs of the refusals that mean: this is not the password.

        A block that ends normally had the right password: the failures of this account, address and session are
        forgotten, and the address is known from now on. A refusal for another reason than the password gives the guess
        back. Everything else stays counted, also a guess without an answer: it may have been judged.

        Raises `TooManyRequests` before the block if the guess is not allowed now, `AtCapacity` if too many addresses
        that are not known guess at once.
        """
        if not self._enabled:
            yield
            return
        place = await self._take(account, address_key(address), session)
        self._strangers += not place.is_known
        try:
            yield
        except RemoteProblem as problem:
            if problem.slug not in wrong and problem.kind not in _NOT_JUDGED:
                await self._give_back(place)
            raise
        finally:
            self._strangers -= not place.is_known
        await self._failures.clear(place.pair)
        await self._gates.clear(place.pair)
        if not place.is_known:
            await self._totals.give_back(place.total)
        await self._remember(account, place.source)

    async def remember(self, account: str, address: str) -> None:
        """Make an address known for an account, as a right password there does."""
        if self._enabled:
            await self._remember(account, _key(account, address_key(address)))

    async def _take(self, account: str, address: str, session: str) -> _Place:
        """Count one guess. Raises `TooManyRequests` if it is not allowed now."""
        rules = self._rules
        pair, total, source = _key(account, address, session), _key(account, session), _key(account, address)
        if await self._gates.count(pair):
            raise await self._must_wait(pair)
        is_known = await self._known.count(source) > 0
        if not is_known:
            if self._strangers >= rules.strangers:
                raise AtCapacity("requests with a password from new addresses", rules.strangers)
            await self._take_of_total(total)
        failures = await self._failures.add(pair, rules.window)
        if failures < rules.free:
            return _Place(pair, total, source, is_known, closed_gate=False)
        delay = min(rules.first_delay << min(failures - rules.free, 30), rules.max_delay)
        place = _Place(pair, total, source, is_known, closed_gate=await self._gates.add(pair, delay) == 1)
        if not place.closed_gate:  # another guess came first
            await self._give_back(place)
            raise await self._must_wait(pair)
        return place

    async def _take_of_total(self, total: str) -> None:
        rules = self._rules
        if await self._totals.count(total) < rules.total:
            if await self._totals.add(total, rules.total_window) <= rules.total:
                return
            await self._totals.give_back(total)  # another guess came first
        wait = await self._totals.seconds_left(total)
        raise _refusal(_TOTAL, rules.total, rules.total_window, wait)

    async def _give_back(self, place: _Place) -> None:
        await self._failures.give_back(place.pair)
        if not place.is_known:
            await self._totals.give_back(place.total)
        if place.closed_gate:
            await self._gates.clear(place.pair)

    async def _remember(self, account: str, source: str) -> None:
        if await self._known.count(source):
            await self._known.clear(source)  # to begin its time anew
        elif await self._newcomers.add(_key(account), _DAY) > _NEW_ADDRESSES_PER_DAY:
            return
        await self._known.add(source, self._rules.known_for)

    async def _must_wait(self, pair: str) -> TooManyRequests:
        rules = self._rules
        return _refusal(_PER_ADDRESS, rules.free, rules.window, await self._gates.seconds_left(pair))


def _refusal(name: str, amount: int, window: int, wait: float) -> TooManyRequests:
    return TooManyRequests(name, limit_fields(name, amount, window, Usage(False, 0, wait)))


def _key(*parts: str) -> str:
    """Return a short key that shows neither an account nor an address."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()
