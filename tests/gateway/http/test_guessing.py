"""The rules against guessing, with a clock and without services."""

import asyncio
from collections.abc import Callable

import pytest
from limits.aio.storage import MemoryStorage

from apps.gateway.errors import AtCapacity, TooManyRequests
from apps.gateway.http.expiring_counts import ExpiringCounts, MemoryCounts, StoredCounts
from apps.gateway.http.guessing import Guesses, GuessingRules
from contracts.errors import ErrorKind, Problem
from kit.errors import OutcomeUnknown, Refusal, RemoteProblem, Unavailable
from tests.support.clock import Clock

RULES = GuessingRules(
    free=10, window=86_400, first_delay=30, max_delay=900, total=100, total_window=3600, strangers=1000
)
WRONG = RemoteProblem(Problem(kind=ErrorKind.UNAUTHENTICATED, slug="invalid-credentials", detail="Wrong."))
REFUSED = RemoteProblem(Problem(kind=ErrorKind.INVALID, slug="password-too-common", detail="Another reason."))


async def attempt(guesses: Guesses, refusal: Exception | None = WRONG, *, address: str = "192.0.2.1") -> int:
    """Guess once; return the seconds to wait, 0 if the guess was judged."""
    try:
        async with guesses.attempt("ada", address):
            await asyncio.sleep(0)
            if refusal:
                raise refusal
    except TooManyRequests as throttled:
        return int(throttled.headers["Retry-After"])
    except Refusal:
        return 0
    return 0


async def judged(guesses: Guesses, times: int, *, address: str = "192.0.2.1") -> int:
    """Guess many times at once; return how many guesses were judged."""
    waits = await asyncio.gather(*(attempt(guesses, address=address) for _ in range(times)))
    return waits.count(0)


def new(clock: Clock, rules: GuessingRules = RULES) -> Guesses:
    return Guesses(rules, lambda _: MemoryCounts(clock=clock), enabled=True)


@pytest.fixture(params=["memory", "stored"])
def open_counts(request: pytest.FixtureRequest) -> Callable[[str], ExpiringCounts]:
    storage = MemoryStorage()
    return (lambda _: MemoryCounts()) if request.param == "memory" else (lambda name: StoredCounts(storage, name))


async def test_delay_doubles_up_to_a_ceiling() -> None:
    clock = Clock()
    guesses = new(clock)
    assert [await attempt(guesses) for _ in range(12)] == [0] * 10 + [30, 30]
    for delay in (30, 60, 120, 240, 480, 900, 900, 900):
        assert await attempt(guesses) == delay
        clock.now += delay - 1
        assert await attempt(guesses) == 1
        clock.now += 1
        assert await judged(guesses, 20) == 1


async def test_failures_are_forgotten_after_the_window() -> None:
    clock = Clock()
    guesses = new(clock)
    assert await judged(guesses, 20) == 10
    clock.now += 86_400
    assert await judged(guesses, 20) == 10


async def test_right_password_forgets_the_failures() -> None:
    guesses = new(Clock())
    for _ in range(5):
        assert await judged(guesses, 9) == 9
        assert await attempt(guesses, None) == 0


async def test_only_the_limit_is_judged_at_once(open_counts: Callable[[str], ExpiringCounts]) -> None:
    guesses = Guesses(RULES, open_counts, enabled=True)
    assert await judged(guesses, 50) == 10
    assert sum([await judged(guesses, 7, address=f"198.51.100.{n}") for n in range(20)]) == 90


async def test_known_address_passes_the_ceiling(open_counts: Callable[[str], ExpiringCounts]) -> None:
    guesses = Guesses(RULES, open_counts, enabled=True)
    assert await attempt(guesses, None, address="10.0.0.1") == 0
    await guesses.remember("ada", "2001:db8::1")
    assert sum([await judged(guesses, 9, address=f"198.51.100.{n}") for n in range(20)]) == 100
    assert 3500 < await attempt(guesses, None, address="10.0.0.2") <= 3600
    for _ in range(2):
        assert await attempt(guesses, None, address="10.0.0.1") == 0
        assert await attempt(guesses, None, address="2001:db8::2") == 0


async def test_ceiling_ends_with_its_window() -> None:
    clock = Clock()
    guesses = new(clock)
    assert sum([await judged(guesses, 9, address=f"198.51.100.{n}") for n in range(20)]) == 100
    clock.now += 3600
    assert await attempt(guesses, address="10.0.0.2") == 0


@pytest.mark.parametrize("error", [OutcomeUnknown("users service"), Unavailable("users service")])
async def test_guess_without_an_answer_stays_counted(error: Refusal) -> None:
    guesses = new(Clock())
    for _ in range(10):
        assert await attempt(guesses, error) == 0
    assert await attempt(guesses) == 30


async def test_cancelled_guess_stays_counted() -> None:
    guesses = new(Clock())
    for _ in range(10):
        task = asyncio.create_task(attempt(guesses))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert await attempt(guesses) == 30


async def test_refusal_for_another_reason_is_given_back() -> None:
    guesses = new(Clock())
    for _ in range(300):
        assert await attempt(guesses, REFUSED) == 0
    assert await judged(guesses, 20) == 10


async def test_one_account_makes_few_addresses_known_per_day() -> None:
    clock = Clock()
    guesses = new(clock)
    addresses = [f"198.51.100.{number}" for number in range(40)]
    for address in addresses:
        assert await attempt(guesses, None, address=address) == 0
    assert sum([await judged(guesses, 9, address=f"203.0.113.{n}") for n in range(20)]) == 100
    waits = [await attempt(guesses, None, address=address) for address in addresses]
    assert waits.count(0) == 32


async def test_new_addresses_leave_capacity_to_known_ones() -> None:
    guesses = new(Clock(), GuessingRules(**{**vars(RULES), "strangers": 2}))
    await guesses.remember("ada", "10.0.0.1")
    async with guesses.attempt("ada", "198.51.100.1"), guesses.attempt("bob", "198.51.100.2"):
        with pytest.raises(AtCapacity):
            async with guesses.attempt("eve", "198.51.100.3"):
                raise AssertionError
        async with guesses.attempt("ada", "10.0.0.1"):
            pass
    async with guesses.attempt("eve", "198.51.100.3"):
        pass


async def test_disabled_guesses_are_not_counted() -> None:
    counts = MemoryCounts()
    guesses = Guesses(RULES, lambda _: counts, enabled=False)
    assert await judged(guesses, 50) == 50
    await guesses.remember("ada", "10.0.0.1")
    assert counts.keys == 0
