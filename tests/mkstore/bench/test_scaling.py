"""The model of the cost of payments in shards."""

import pytest

from mkstore.bench.samples import Sample
from mkstore.bench.scaling import SIZE, Costs, Point, fit, medians, predict, report, turns

TRUE = Costs(payment=300.0, message=900.0, second=50_000.0)
LOADS = [(8, 700.0, 6.0), (16, 1300.0, 14.0), (32, 2100.0, 31.0), (64, 2900.0, 60.0), (128, 3600.0, 120.0)]


def point(concurrency: int, rate: float, size: float, costs: Costs = TRUE) -> Point:
    return Point(concurrency, rate, size, {"all": costs.time(rate, size)})


def test_fit_finds_the_terms() -> None:
    found = fit([point(*load) for load in LOADS])
    assert (found.payment, found.message, found.second) == pytest.approx((300, 900, 50_000), rel=1e-3)


def test_terms_are_never_negative() -> None:
    """A cost that rises with the size of messages would need a negative term."""
    rising = [Point(c, rate, size, {"all": 100 + size}) for c, rate, size in LOADS]
    found = fit(rising)
    assert min(found.payment, found.message, found.second) >= 0
    assert found.payment == pytest.approx(120, rel=0.3)


def test_prediction_is_consistent_with_the_model() -> None:
    """At the predicted rate the shards use what one shard used."""
    one = point(*LOADS[-1])
    for shards in (2, 4):
        expected = predict(TRUE, one, shards)
        used = expected.rate * (300 + 900 / expected.size) + shards * 50_000
        assert used == pytest.approx(one.rate * one.total)
        assert expected.rate < one.rate


def test_one_shard_is_predicted_exactly() -> None:
    one = point(*LOADS[2])
    assert predict(Costs(0, 100, 1000), one, 1).rate == pytest.approx(one.rate)


def test_medians_have_the_shards_as_one_part() -> None:
    samples = [
        Sample(
            round=number,
            scenario="payments",
            contender="mkstore-2-shards",
            concurrency=32,
            rate=rate,
            processor={"gateway": 10.0, "payments-0of2": 3.0, "payments-1of2": 4.0},
            figures={SIZE: 15.0},
        )
        for number, rate in enumerate((100.0, 300.0, 200.0))
    ]
    [found] = medians(turns(samples, "mkstore-2-shards"))
    assert (found.rate, found.size, found.times) == (200.0, 15.0, {"gateway": 10.0, "payments": 7.0})
    assert found.total == 17.0


def test_turns_that_cannot_be_told_apart_give_no_prediction() -> None:
    samples = [
        Sample(
            round=1,
            scenario="payments",
            contender="mkstore",
            concurrency=concurrency,
            rate=rate,
            processor={"gateway": 100 + 3e5 / rate},
            figures={SIZE: size},
        )
        for concurrency, rate, size in LOADS
    ]
    assert "do not tell the terms apart" in list(report(samples))[-1]
