"""The report of a run: a table in Markdown, the same figures as JSON, and a chart of the throughput."""

import json
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mkstore.chaos.experiment import Proof, Round
from mkstore.plots import use_svg

_OUTAGES = {
    "pay": "no payment accepted (s)",
    "list payments": "no payments listed (s)",
    "get user": "no user returned (s)",
}
"""Operations of the load, and the columns with the longest time without a successful response."""

_COLUMNS = (
    "fault",
    "accepted",
    "refused",
    "recorded",
    "lost",
    "duplicated",
    "phantom",
    "unannounced",
    "out of order",
    "accepted after the end",
    "unexpected responses",
    "recovered after (s)",
    "drained after (s)",
    *_OUTAGES.values(),
    "slowest (s)",
)

_OUTAGE_COLUMNS = ("fault", *_OUTAGES.values(), "refused")

SHORT_COLUMNS = (
    "fault",
    "accepted",
    "lost",
    "duplicated",
    "phantom",
    "unannounced",
    "out of order",
    "accepted after the end",
    "recovered after (s)",
)
"""The columns for a terminal."""


def rows(proof: Proof) -> list[dict[str, Any]]:
    """Return a row for each round."""
    return [_row(done) for done in proof.rounds]


def write(proof: Proof, folder: Path) -> None:
    """Write `README.md`, `report.json` and `timeline.svg` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    table = rows(proof)
    details = [
        row | {"refusals": done.refusals, "gateway memory (MB)": [round(size / 1e6, 1) for size in done.memory]}
        for row, done in zip(table, proof.rounds, strict=True)
    ]
    (folder / "report.json").write_text(json.dumps({"summary": summary(proof), "rounds": details}, indent=2) + "\n")
    (folder / "README.md").write_text(_markdown(proof, table))
    _draw(proof, folder / "timeline.svg")


def summary(proof: Proof) -> dict[str, Any]:
    """Return the totals."""
    verdicts = [done.verdict for done in proof.rounds]
    return {
        "faults": len(proof.rounds),
        "accepted": sum(done.accepted for done in proof.rounds),
        "recorded": sum(verdict.recorded for verdict in verdicts),
        **{name: sum(len(verdict.violations[name]) for verdict in verdicts) for name in verdicts[0].violations},
        "unexpected responses": sum(len(done.unexpected) for done in proof.rounds),
        "seed": proof.seed,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def _row(done: Round) -> dict[str, Any]:
    figures = (
        done.fault,
        done.accepted,
        sum(done.refusals.values()),
        done.verdict.recorded,
        *(len(sentences) for sentences in done.verdict.violations.values()),
        len(done.unexpected),
        *(
            round(seconds, 1)
            for seconds in (
                done.recovered - done.injected,
                done.drained - done.load_ended,
                *(done.outage(operation) for operation in _OUTAGES),
                done.slowest,
            )
        ),
    )
    return dict(zip(_COLUMNS, figures, strict=True))


def _markdown(proof: Proof, table: list[dict[str, Any]]) -> str:
    total = summary(proof)
    head = f"""# Nothing accepted is lost: the last run

`uv run {proof.command}`, {total["date"]}, {total["machine"]}, seed {total["seed"]}:
**{total["faults"]} faults, {total["accepted"]:,} payments accepted, {total["lost"]} lost,
{total["duplicated"]} duplicated, {total["phantom"]} phantom, {total["unannounced"]} unannounced,
{total["out of order"]} out of order, {total["accepted after the end"]} tokens accepted after the end of their
session.**

![Payments accepted per second, and the faults](timeline.svg)

- Lost: accepted, but without a row or an event. Duplicated: one payment recorded or published as two. Phantom: present,
  but never requested, or refused. Unannounced: a row without its event. Out of order: versions of a user out of order.
- Accepted after the end: a token that a gateway took more than two seconds after the answer that ended its session, or
  more than ten while a route between servers of NATS is broken.
- Refused: responses other than success. The caller knows that nothing was done, or repeats with the same key.
- Recovered after: from the fault until every process is ready again; the load continues for at least 1.5 s.
- Drained after: from the last payment until everything accepted is recorded and its events are published.
- No payment accepted, no payments listed, no user returned: the longest time without a successful response to
  `POST /payments`, `GET /payments`, `GET /users/me`.

"""
    killed = sorted((row for row in table if row["fault"].startswith("kill -9")), key=lambda row: str(row["fault"]))
    return f"{head}{_table(table, _COLUMNS)}\n## Outages after kill -9\n\n{_table(killed, _OUTAGE_COLUMNS)}"


def _table(rows: list[dict[str, Any]], columns: Sequence[str]) -> str:
    lines = [
        "| " + " | ".join(columns) + " |",
        "|---|" + "---:|" * (len(columns) - 1),
        *("| " + " | ".join(str(row[column]) for column in columns) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _draw(proof: Proof, file: Path) -> None:
    use_svg()
    from matplotlib import pyplot as plt  # noqa: PLC0415 - slow to import, and only needed at the end

    per_row = 8
    bands = [proof.rounds[first : first + per_row] for first in range(0, len(proof.rounds), per_row)]
    figure, axes = plt.subplots(len(bands), 1, figsize=(16, 2.6 * len(bands)), squeeze=False, layout="constrained")
    for axis, band in zip(axes[:, 0], bands, strict=True):
        for done in band:
            accepted = Counter(int(at) for at, name, good in done.answers if name == "pay" and good)
            refused = Counter(int(at) for at, name, good in done.answers if name == "pay" and not good)
            seconds = range(int(done.load_ended) + 1)
            at = [done.began + second for second in seconds]
            axis.plot(
                at, [accepted[second] for second in seconds], color="#1f6feb", linewidth=1.2, drawstyle="steps-post"
            )
            axis.plot(
                at, [refused[second] for second in seconds], color="#cf222e", linewidth=0.8, drawstyle="steps-post"
            )
            injected, recovered = done.began + done.injected, done.began + done.recovered
            axis.axvspan(injected, recovered, color="#d4a72c", alpha=0.35, linewidth=0)
            axis.annotate(
                done.fault,
                (injected, 1.0),
                xycoords=("data", "axes fraction"),
                fontsize=7,
                rotation=12,
            )
        axis.set_ylabel("per second")
        axis.set_ylim(bottom=0)
        axis.margins(x=0.01)
    axes[-1, 0].set_xlabel(
        "seconds; blue: payments accepted, red: not accepted, yellow: from the fault until the recovery"
    )
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
