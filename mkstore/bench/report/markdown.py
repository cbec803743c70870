"""The tables of the report."""

from collections.abc import Iterable, Sequence

from mkstore.bench.contenders.registry import STORE, STORE_ACCESS_LINE, STORE_LIMITS_ON
from mkstore.bench.report.goals import STORES, every_goal
from mkstore.bench.report.ratios import Case, Spread, case_of, p99, processor, ratio, spread
from mkstore.bench.samples import Result, Sample

_NONE = "-"
_OWN = (STORE, STORE_LIMITS_ON, STORE_ACCESS_LINE)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def goals(samples: Sequence[Sample]) -> str:
    """Return the table of goals that this run has figures for."""
    rows = []
    for goal in every_goal():
        cells = []
        for store, wanted in zip(STORES, (goal.off, goal.on), strict=True):
            reached = goal.reached(samples, store)
            bound = f"{'≤' if goal.is_maximum else '≥'} {wanted:g}" if wanted is not None else _NONE
            cells += [bound, _verdict(*reached)] if reached else [_NONE, _NONE]
        if set(cells) != {_NONE}:
            rows.append([goal.label, *cells])
    return table(["figure", "goal, limits off", "limits off", "goal, limits on", "limits on"], rows)


def rates(samples: Sequence[Sample], scenario: str) -> str:
    """Return the rates of all contenders in a scenario, with the ratio of this store to each."""
    rows = []
    for case in cases(samples, scenario):
        if (rate := spread(samples, case)) is None or not rate.highest:
            continue
        own = [Case(scenario, store, case.concurrency, case.variant) for store in STORES]
        ratios = ["" if case.contender in _OWN else _text(ratio(samples, one, case)) for one in own]
        latency, used = spread(samples, case, p99), spread(samples, case, processor)
        variant = [f"{case.variant}, c={case.concurrency}" if case.variant else f"{case.concurrency}"]
        rows.append(
            [case.contender, *variant, rate.text(0), _text(latency, 1), _text(used, 0) if used else "", *ratios]
        )
    header = ["contender", "connections", "requests/s", "p99 (ms)", "processor (µs)", "limits off to it", "on to it"]
    return table(header, rows)


def parts(samples: Sequence[Sample], scenario: str) -> str:
    """Return the processor time per request of each part of each contender: medians, in microseconds."""
    names = sorted({part for sample in samples if sample.scenario == scenario for part in sample.processor})
    rows = []
    for case in cases(samples, scenario):
        medians = [spread(samples, case, lambda one, name=name: one.processor.get(name, 0.0)) for name in names]  # type: ignore[misc]
        label = f"{case.contender}, c={case.concurrency}" + (f", {case.variant}" if case.variant else "")
        rows.append([label, *(f"{one.median:,.0f}" if one and one.highest else "" for one in medians)])
    return table(["contender", *names], rows)


def figures(samples: Sequence[Sample], scenario: str) -> str:
    """Return the further figures of a scenario, one row each: median, lowest and highest of the rounds."""
    rows = []
    for case in cases(samples, scenario):
        names = list(dict.fromkeys(name for sample in samples if case.holds(sample) for name in sample.figures))
        for name in names:
            found = spread(samples, case, lambda sample, name=name: sample.figures.get(name, 0.0))  # type: ignore[misc]
            label = f"{case.contender}" + (f", c={case.concurrency}" if case.concurrency else "")
            rows.append([label + (f", {case.variant}" if case.variant else ""), name, _text(found)])
    return table(["contender", "figure", "value"], rows)


def checks(result: Result) -> str:
    """Return a sentence about failed requests and wrong responses, rows and events."""
    requests = sum(sample.requests for sample in result.samples)
    failed = sum(sum(sample.failures.values()) for sample in result.samples)
    lines = [f"{requests:,} requests, {failed:,} of them failed (no response, or another status than 2xx)."]
    for sample in result.samples:
        where = f"round {sample.round}, {sample.scenario}, c={sample.concurrency}, {sample.contender}"
        lines += [f"- {where}: {number:,} of the kind {kind}" for kind, number in sample.failures.items()]
        lines += [f"- {where}:\n  `{wrong[:110]}`" for wrong in sample.wrong]
    if len(lines) == 1:
        lines.append("No checked response, row or event was wrong.")
    return "\n".join(lines) + "\n"


def cases(samples: Sequence[Sample], scenario: str) -> list[Case]:
    """Return the cases of a scenario in the order in which they were measured."""
    return list(dict.fromkeys(case_of(sample) for sample in samples if sample.scenario == scenario))


def _verdict(value: Spread, is_reached: bool) -> str:
    return value.text() if is_reached else f"**{value.text()}**"


def _text(found: Spread | None, digits: int = 2) -> str:
    return found.text(digits) if found else _NONE
