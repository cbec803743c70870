"""Ratios are computed within one round."""

from mkstore.bench.report.ratios import Case, Spread, processor, ratio, spread
from mkstore.bench.samples import Sample

OWN, PEER = Case("reads", "mkstore", 32), Case("reads", "peer", 32)


def sample(number: int, case: Case, rate: float, **processor_times: float) -> Sample:
    return Sample(number, case.scenario, case.contender, case.concurrency, rate=rate, processor=processor_times)


def test_ratio_compares_only_samples_of_the_same_round() -> None:
    samples = [sample(1, OWN, 100), sample(1, PEER, 50), sample(2, OWN, 900), sample(2, PEER, 300), sample(3, OWN, 1)]
    assert ratio(samples, OWN, PEER) == Spread(2.5, 2, 3)


def test_ratio_of_what_was_not_measured_is_none() -> None:
    assert ratio([sample(1, OWN, 100), sample(2, PEER, 50)], OWN, PEER) is None
    assert ratio([sample(1, OWN, 100), sample(1, PEER, 0)], OWN, PEER) is None
    assert spread([], OWN) is None


def test_spread_shows_median_lowest_and_highest() -> None:
    found = spread([sample(number, OWN, rate) for number, rate in enumerate((1000, 3000, 1500, 2000, 9000))], OWN)
    assert found == Spread(2000, 1000, 9000)
    assert found.text(0) == "2,000 (1,000 to 9,000)"
    assert Spread(2, 2, 2).text() == "2.00"


def test_processor_time_leaves_out_the_load() -> None:
    assert processor(sample(1, OWN, 1, gateway=40, nats=5, load=20)) == 45


def test_cases_differ_by_concurrency_and_variant() -> None:
    samples = [sample(1, OWN, 100), sample(1, Case("reads", "mkstore", 128), 7)]
    assert spread(samples, OWN) == Spread(100, 100, 100)
    assert spread(samples, Case("reads", "mkstore", 32, "page 2")) is None
