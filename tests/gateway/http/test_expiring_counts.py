"""Counts that expire, in memory and in a storage of the library."""

import pytest
from limits.aio.storage import MemcachedStorage, MemoryStorage

from apps.gateway.http.expiring_counts import ExpiringCounts, MemoryCounts, StoredCounts, open_counts
from tests.support.clock import Clock


@pytest.fixture(params=["memory", "stored"])
def counts(request: pytest.FixtureRequest) -> ExpiringCounts:
    return MemoryCounts() if request.param == "memory" else StoredCounts(MemoryStorage(), "failures")


async def test_each_key_has_its_count(counts: ExpiringCounts) -> None:
    assert [await counts.add("ada", 3600) for _ in range(3)] == [1, 2, 3]
    await counts.give_back("ada")
    assert (await counts.count("ada"), await counts.count("bob")) == (2, 0)
    assert 3590 < await counts.seconds_left("ada") <= 3600
    await counts.clear("ada")
    assert (await counts.count("ada"), await counts.seconds_left("ada")) == (0, 0)


async def test_time_runs_from_the_first_hit() -> None:
    clock = Clock()
    counts = MemoryCounts(clock=clock)
    await counts.add("ada", 60)
    clock.now += 59
    assert await counts.add("ada", 60) == 2
    assert await counts.seconds_left("ada") == 1
    clock.now += 1
    assert await counts.count("ada") == 0
    assert await counts.add("ada", 60) == 1


async def test_what_expired_is_not_given_back() -> None:
    counts = MemoryCounts()
    await counts.give_back("ada")
    assert await counts.add("ada", 60) == 1


async def test_flood_of_keys_keeps_what_was_counted_often() -> None:
    counts = MemoryCounts(max_keys=100)
    for _ in range(10):
        await counts.add("victim", 3600)
    for number in range(10_000):
        await counts.add(str(number), 3600)
        assert counts.keys <= 100
    assert await counts.count("victim") == 10
    assert await counts.count("9999") == 1


async def test_expired_counts_make_room_first() -> None:
    clock = Clock()
    counts = MemoryCounts(max_keys=100, clock=clock)
    for number in range(90):
        for _ in range(5):
            await counts.add(str(number), 60)
    clock.now += 60
    for number in range(11):
        await counts.add(f"new {number}", 60)
    assert counts.keys == 11


def test_storage_decides_where_counts_are() -> None:
    assert isinstance(open_counts(MemoryStorage(), "failures"), MemoryCounts)
    with pytest.raises(ValueError, match="must not be memcached"):
        open_counts(MemcachedStorage.__new__(MemcachedStorage), "failures")
