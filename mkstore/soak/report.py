"""The report of a run: a table in Markdown, a plot of the memory, and all readings as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import Any

from mkstore.bench.machine import machine
from mkstore.bench.report.markdown import table
from mkstore.plots import use_svg
from mkstore.soak.readings import MEGABYTE
from mkstore.soak.run import LIVE_NATS, MAX_FILES, MAX_GROWTH, Soaked
from mkstore.soak.traffic import STREAMS

_WIDTH = 120
_COLUMNS = ("process", "at the start (MB)", "at the end (MB)", "growth (MB per 10 min)", "more open files")
_PAGE = """# Mixed traffic for {minutes:g} minutes: the last run

`uv run mkstore soak --minutes {minutes:g} --rate {rate:g}`, at commit {commit}, {date}:
**{requests:,} requests, {failed} failed**, the slowest in {slowest:.2f} s; {streams:,} event streams were opened,
{open_streams} at a time.

{mix}

![Private memory of each process](memory.svg)

- Memory: the private memory (USS) of a process, in megabytes. PostgreSQL has a process for each connection, and its row
  is the mean of them; shared buffers do not count.
- Growth: Sen's slope of the means of twenty sections after a warm-up of {warm_up:.0f} s, and its 95 % interval. A
  process fails above {max_growth:g} if the interval is above 0.
- The private memory of NATS has tens of megabytes of garbage and of blocks of streams, so what is live after a garbage
  collection is compared: after the warm-up and after the load, each time without requests for some minutes, which are
  gray in the plot.
- More open files: after the load, compared with the time after a first load of some seconds; no client is connected at
  either time. At most {max_files}, because pools of connections grow to their size.

{table}
"""


def rows(soaked: Soaked) -> list[dict[str, Any]]:
    """Return a row for each process."""
    growth = soaked.growth
    found: list[tuple[object, ...]] = []
    for name, files in soaked.before.files.items():
        sizes = [reading.memory[name] / MEGABYTE for reading in soaked.readings if name in reading.memory]
        more = soaked.after.files.get(name, 0) - files
        found.append((name, round(sizes[0], 1), round(sizes[-1], 1), str(growth.get(name, "")), more))
    first, last = (round(rest.live / MEGABYTE, 1) for rest in soaked.rests)
    found.append((LIVE_NATS, first, last, f"{growth[LIVE_NATS].rate:.2f}", ""))
    return [dict(zip(_COLUMNS, values, strict=True)) for values in found]


def write(soaked: Soaked, folder: Path) -> None:
    """Write `README.md`, `report.json` and `memory.svg` into `folder`. Raises `OSError` if it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    traffic, facts = soaked.traffic, machine()
    figures = {
        "machine": facts,
        "minutes": soaked.minutes,
        "rate": soaked.rate,
        "requests": traffic.requests,
        "failed": traffic.failed,
        "faults": traffic.faults,
        "outcomes": dict(traffic.outcomes),
        "processes": rows(soaked),
        "rests": [asdict(rest) for rest in soaked.rests],
        "readings": [asdict(reading) for reading in soaked.readings],
    }
    (folder / "report.json").write_text(json.dumps(figures) + "\n")
    _draw(soaked, folder / "memory.svg")
    mix = ", ".join(f"{name} {number:,}" for name, number in sorted(traffic.outcomes.items()))
    page = _PAGE.format(
        minutes=soaked.minutes,
        rate=soaked.rate,
        commit=facts["commit"],
        date=facts["date"],
        requests=traffic.requests,
        failed=traffic.failed,
        slowest=traffic.slowest,
        streams=traffic.streams,
        open_streams=STREAMS,
        mix=fill(f"Good responses by operation: {mix}.", _WIDTH),
        warm_up=soaked.rests[0].begin,
        max_growth=MAX_GROWTH,
        max_files=MAX_FILES,
        table=table(_COLUMNS, [[str(value) for value in row.values()] for row in rows(soaked)]),
    )
    (folder / "README.md").write_text(page)


def _draw(soaked: Soaked, file: Path) -> None:
    use_svg()
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and only needed at the end

    figure = Figure(figsize=(9, 5), layout="constrained")
    axis = figure.subplots()
    for name in soaked.before.memory:
        points = [(one.at / 60, one.memory[name] / MEGABYTE) for one in soaked.readings if name in one.memory]
        axis.plot(*zip(*points, strict=True), label=name)
    axis.plot(
        *zip(*((rest.end / 60, rest.live / MEGABYTE) for rest in soaked.rests), strict=True), "o", label=LIVE_NATS
    )
    for rest in soaked.rests:
        axis.axvspan(rest.begin / 60, rest.end / 60, color="lightgray")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("minutes")
    axis.set_ylabel("private memory (MB)")
    axis.legend(fontsize=7)
    figure.savefig(file, metadata={"Date": None})
