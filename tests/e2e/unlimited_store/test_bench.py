"""The benchmark measures a real store: responses and rows are right, and each part has processor time."""

from pathlib import Path

from mkstore.bench.contenders.limits import running_app
from mkstore.bench.contenders.registry import every_contender
from mkstore.bench.contenders.stores import store_target
from mkstore.bench.report.ratios import Case, ratio
from mkstore.bench.run import Plan, measure
from mkstore.bench.scenarios.registry import every_scenario
from tests.support.running_store import Running


async def test_store_and_a_limit_take_turns_under_load(unlimited_store: Running, tmp_path: Path) -> None:
    own, limit = (one for one in every_contender() if one.name in {"mkstore", "limit-fastapi"})
    scenarios = [one for one in every_scenario() if one.name in {"users-many", "payments-keyed"}]
    plan = Plan([own, limit], scenarios, [8], rounds=1, seconds=1, warm_up=False)
    store = await store_target(own.name, unlimited_store, users=20)
    async with running_app(limit.name, "empty_route", tmp_path, users=20) as empty_route:
        samples = await measure(plan, [(own, store), (limit, empty_route)], print)
    reads, route, payments = samples
    assert not [fault for sample in samples for fault in (*sample.wrong, *sample.failures)]
    assert reads.processor.keys() == {"gateway", "users", "payments", "nats", "postgres", "load"}
    assert reads.processor["gateway"] > 0
    assert payments.figures["rows"] >= payments.requests > 0
    found = ratio(samples, Case("users-many", own.name, 8), Case("users-many", limit.name, 8))
    assert found
    assert 0 < found.median == reads.rate / route.rate
