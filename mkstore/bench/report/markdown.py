"""The tables of the report."""

from collections.abc import Iterable, Sequence

from mkstore.bench.contenders.registry import STORE, STORE_ACCESS_LINE, STORE_LIMITS_ON, STORE_TRACES
from mkstore.bench.report.goals import STORES, every_goal
from mkstore.bench.report.ratios import Case, Spread, case_of, p99, processor, ratio, spread
from mkstore.bench.report.ratios import rate as plain_rate
from mkstore.bench.samples import Result, Sample
from mkstore.bench.scenarios.idle import SERVERS
from mkstore.bench.scenarios.registry import IDLE

_NONE = "-"
_LARGE = 100
"""Figures from here on are shown without decimals."""
_OWN = (STORE, STORE_LIMITS_ON, STORE_ACCESS_LINE, STORE_TRACES)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table; the columns after the first `left` ones are aligned to the right."""
    lines = [header, [*["---"] * left, *["---:"] * (len(header) - left)], *rows]
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
        rate, latency, used = (spread(samples, case, figure) for figure in (plain_rate, p99, processor))
        if rate is None or not rate.highest:
            continue
        own = [Case(scenario, store, case.concurrency, case.variant) for store in STORES]
        ratios = ["" if case.contender in _OWN else _text(ratio(samples, one, case)) for one in own]
        rows.append([case.contender, _load(case), rate.text(0), _text(latency, 1), _text(used, 0), *ratios])
    header = ["contender", "connections", "requests/s", "p99 (ms)", "processor (µs)"]
    return table([*header, *(f"{store} to it" for store in STORES)], rows, left=2)


def operations(samples: Sequence[Sample], scenario: str) -> str:
    """Return the rates of a scenario without HTTP: one row for each operation."""
    found = [(case, spread(samples, case)) for case in cases(samples, scenario)]
    return table(
        ["contender", "operation", "per second"], [[c.contender, c.variant, _text(s, 0)] for c, s in found], left=2
    )


def parts(samples: Sequence[Sample], scenario: str) -> str:
    """Return the processor time per request of each part of each contender: medians, in microseconds."""
    names = sorted({part for sample in samples if sample.scenario == scenario for part in sample.processor})
    rows = []
    for case in cases(samples, scenario):
        medians = [spread(samples, case, lambda one, name=name: one.processor.get(name, 0.0)) for name in names]  # type: ignore[misc]
        used = (f"{one.median:,.0f}" if one and one.highest else "" for one in medians)
        rows.append([case.contender, _load(case), *used])
    return table(["contender", "connections", *names], rows, left=2)


def figures(samples: Sequence[Sample], scenario: str) -> str:
    """Return the further figures of a scenario; of memory and idle processes only the sums and the servers."""
    own = [sample for sample in samples if sample.scenario == scenario]
    names = list(dict.fromkeys(name for sample in own for name in sample.figures))
    if scenario == IDLE:
        names = [name for name in names if name.split()[0] in {"services", *SERVERS}]
    rows = []
    for case in cases(own, scenario):
        found = []
        for name in names:
            values = [sample.figures[name] for sample in own if case.holds(sample) and name in sample.figures]
            found.append(Spread.of(values).text(_digits(values)) if values else "")
        rows.append([case.contender, _load(case), *found])
    return table(["contender", "connections" if scenario != IDLE else "when", *names], rows, left=2)


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


def _load(case: Case) -> str:
    """Return the connections of a case, and its variant."""
    return ", ".join(part for part in (case.variant, str(case.concurrency or "")) if part)


def _digits(values: Sequence[float]) -> int:
    return 0 if max(values) >= _LARGE else 2
