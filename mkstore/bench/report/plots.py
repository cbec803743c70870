"""The plots of the report, as SVG that is the same for the same figures."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from mkstore.bench.report.markdown import cases
from mkstore.bench.report.ratios import Spread, spread
from mkstore.bench.samples import Sample
from mkstore.plots import use_svg

_PERCENTILES = ("p50", "p75", "p90", "p95", "p99", "p99.9", "p100")


def draw(samples: Sequence[Sample], folder: Path) -> list[str]:
    """Write the plots that the samples have figures for; return the names of the files with their captions."""
    use_svg()
    plots = {
        "throughput": ("Requests per second by number of connections: median, lowest and highest", _throughput),
        "latency": ("Latency by percentile, at the highest number of connections", _latency),
        "processor": ("Processor time per request by part", _processor),
        "memory": ("Memory of the idle processes", _memory),
    }
    written = []
    for name, (caption, plot) in plots.items():
        figure = plot(samples)
        if figure is not None:
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            written.append(f"![{caption}]({name}.svg)")
    return written


def _axes(names: Sequence[str], height: float = 4.0) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(5.5 * columns, height * lines), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, name in zip(axes, names, strict=False):
        axis.set_title(name, fontsize=10)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    return figure, axes


def _scenarios(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(sample.scenario for sample in samples if sample.latency and not sample.variant))


def _throughput(samples: Sequence[Sample]) -> Any:
    names = _scenarios(samples)
    if not names:
        return None
    figure, axes = _axes(names)
    for axis, name in zip(axes, names, strict=False):
        contenders = list(dict.fromkeys(case.contender for case in cases(samples, name)))
        for contender in contenders:
            own = [case for case in cases(samples, name) if case.contender == contender]
            found = [spread(samples, case) or Spread(0, 0, 0) for case in own]
            below = [one.median - one.lowest for one in found]
            above = [one.highest - one.median for one in found]
            at = [case.concurrency for case in own]
            axis.errorbar(at, [one.median for one in found], [below, above], marker="o", capsize=3, label=contender)
        axis.set_xscale("log", base=2)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("connections")
        axis.set_ylabel("requests/s")
        axis.legend(fontsize=7, loc="upper left")
    return figure


def _latency(samples: Sequence[Sample]) -> Any:
    names = _scenarios(samples)
    if not names:
        return None
    figure, axes = _axes(names)
    for axis, name in zip(axes, names, strict=False):
        highest = max(case.concurrency for case in cases(samples, name))
        for case in (case for case in cases(samples, name) if case.concurrency == highest):
            own = [sample.latency for sample in samples if case.holds(sample)]
            medians = [median(one[percentile] for one in own) for percentile in _PERCENTILES]
            axis.plot(_PERCENTILES, medians, marker=".", label=case.contender)
        axis.set_yscale("log")
        axis.set_ylabel(f"milliseconds, c={highest}")
        axis.legend(fontsize=7, loc="upper left")
    return figure


def _processor(samples: Sequence[Sample]) -> Any:
    names = _scenarios(samples)
    if not names:
        return None
    figure, axes = _axes(names, height=5.0)
    for axis, name in zip(axes, names, strict=False):
        own = cases(samples, name)
        labels = [f"{case.contender} c={case.concurrency}" for case in own]
        parts = list(dict.fromkeys(part for sample in samples if sample.scenario == name for part in sample.processor))
        left = [0.0] * len(own)
        for part in parts:
            widths = [
                median(sample.processor.get(part, 0.0) for sample in samples if case.holds(sample)) for case in own
            ]
            axis.barh(labels, widths, left=left, label=part)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axis.invert_yaxis()
        axis.tick_params(axis="y", labelsize=6)
        axis.set_xlabel("microseconds per request")
        axis.legend(fontsize=7, loc="lower right")
    return figure


def _memory(samples: Sequence[Sample]) -> Any:
    own = [sample for sample in samples if any(name.endswith("PSS (MB)") for name in sample.figures)]
    kinds = ("RSS (MB)", "PSS (MB)")
    if not own:
        return None
    figure, axes = _axes(kinds)
    for axis, kind in zip(axes, kinds, strict=False):
        labels = list(dict.fromkeys(f"{sample.contender}, {sample.variant}" for sample in own))
        last = {f"{sample.contender}, {sample.variant}": sample.figures for sample in own}
        names = [name for figures in last.values() for name in figures if name.endswith(kind)]
        parts = [name for name in dict.fromkeys(names) if not name.startswith("services ")]
        left = [0.0] * len(labels)
        for part in parts:
            widths = [last[label].get(part, 0.0) for label in labels]
            axis.barh(labels, widths, left=left, label=part.removesuffix(f" {kind}"))
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axis.invert_yaxis()
        axis.tick_params(axis="y", labelsize=7)
        axis.set_xlabel("MB")
        axis.legend(fontsize=7, loc="lower right")
    return figure
