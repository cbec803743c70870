"""Counters of requests in a sliding window."""

from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import parse
from limits.aio.storage import MemoryStorage

from apps.gateway.http.request_counters import MemoryCounter, RequestCounter, StoredCounter, open_counters, open_storage
from tests.support.clock import Clock


async def allowed(counter: RequestCounter, key: str, times: int) -> int:
    return sum([(await counter.hit(key)).allowed for _ in range(times)])


@pytest.fixture(params=["memory", "stored"])
def counter(request: pytest.FixtureRequest) -> RequestCounter:
    if request.param == "memory":
        return MemoryCounter(3, 3600)
    return StoredCounter(parse("3/hour"), "caller", MemoryStorage())


async def test_each_key_is_counted_up_to_the_limit(counter: RequestCounter) -> None:
    assert (counter.amount, counter.window) == (3, 3600)
    assert await allowed(counter, "ada", 5) == 3
    assert (await counter.hit("ada"))[:2] == (False, 0)
    assert (await counter.hit("bob"))[:2] == (True, 2)


async def test_previous_window_counts_in_proportion() -> None:
    clock = Clock()
    clock.now = 6000.0
    counter = MemoryCounter(10, 60, clock=clock)
    assert await allowed(counter, "ada", 20) == 10
    clock.now += 60 + 15
    assert await allowed(counter, "ada", 20) == 3  # 10 * 45 / 60 = 7.5 still count
    clock.now += 120
    assert await allowed(counter, "ada", 20) == 10


async def test_reset_is_the_end_of_the_window_at_the_latest() -> None:
    clock = Clock()
    clock.now = 6010.0
    counter = MemoryCounter(1, 60, clock=clock)
    assert (await counter.hit("ada")).reset == 50
    clock.now += 20
    assert (await counter.hit("ada")).reset == 30


async def test_memory_keeps_two_windows() -> None:
    clock = Clock()
    counter = MemoryCounter(10, 60, clock=clock)
    for minute in range(10):
        for number in range(100):
            await counter.hit(f"{minute}.{number}")
        clock.now += 60
        assert counter.keys <= 200
    clock.now += 120
    await counter.hit("ada")
    assert counter.keys == 1


async def test_memory_is_bounded_within_a_window() -> None:
    counter = MemoryCounter(10, 3600, max_keys=50)
    for number in range(1000):
        await counter.hit(str(number))
        assert counter.keys <= 100


async def test_clock_that_steps_back_counts_on() -> None:
    clock = Clock()
    counter = MemoryCounter(10, 60, clock=clock)
    await counter.hit("ada")
    clock.now -= 100
    assert (await counter.hit("ada"))[:2] == (True, 8)


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 45)), max_size=40))
async def test_memory_counts_as_the_library_does(steps: list[tuple[str, float]]) -> None:
    """The rule of `limits`, computed from all hits at each step."""
    clock, hits = Clock(), list[tuple[str, float]]()
    clock.now = 1_800_000_000.0
    counter = MemoryCounter(5, 60, clock=clock)
    for key, pause in steps:
        clock.now += pause
        window = clock.now // 60
        before = sum(1 for other, at in hits if other == key and at // 60 == window - 1)
        count = sum(1 for other, at in hits if other == key and at // 60 == window)
        weighted = before * (60 - clock.now % 60) / 60 + count
        expected = floor(weighted) + 1 <= 5
        usage = await counter.hit(key)
        assert usage.allowed is expected
        assert usage.remaining == max(0, 5 - floor(weighted + expected))
        if expected:
            hits.append((key, clock.now))


def test_memory_storage_is_counted_in_this_process() -> None:
    counters = open_counters({"caller": "3/minute", "sign_up": "10/5 minutes"}, open_storage("async+memory://"))
    assert [type(counter) for counter in counters.values()] == [MemoryCounter, MemoryCounter]
    assert [(counter.amount, counter.window) for counter in counters.values()] == [(3, 60), (10, 300)]


def test_storage_that_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must begin with async\+"):
        open_storage("memory://")
