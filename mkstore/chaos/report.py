"""The report of a proof: a table, the same as JSON, and a picture of the throughput with each fault in it."""

import json
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mkstore.chaos.experiment import Proof, Round

_COLUMNS = (
    "fault",
    "accepted",
    "refused",
    "recorded",
    "lost",
    "doubled",
    "phantoms",
    "untold",
    "misordered",
    "wrong answers",
    "whole after (s)",
    "carried out after (s)",
    "no payment taken (s)",
    "no payment shown (s)",
    "no user shown (s)",
    "slowest (s)",
)

_SILENCE = ("fault", "no payment taken (s)", "no payment shown (s)", "no user shown (s)", "refused")

SHORT_COLUMNS = ("fault", "accepted", "lost", "doubled", "phantoms", "untold", "misordered", "whole after (s)")
"""What fits on a terminal."""


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
        **{name: sum(len(verdict.faults[name]) for verdict in verdicts) for name in verdicts[0].faults},
        "wrong answers": sum(len(done.surprises) for done in proof.rounds),
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
        *(len(what) for what in done.verdict.faults.values()),
        len(done.surprises),
        *(
            round(seconds, 1)
            for seconds in (
                done.whole - done.struck,
                done.settled - done.ended,
                *(done.silence(what) for what in ("pay", "look", "who")),
                done.slowest,
            )
        ),
    )
    return dict(zip(_COLUMNS, figures, strict=True))


def _markdown(proof: Proof, table: list[dict[str, Any]]) -> str:
    total = summary(proof)
    head = f"""# Nothing accepted is lost: the last proof

`uv run mkstore prove`, {total["date"]}, {total["machine"]}, seed {total["seed"]}:
**{total["faults"]} faults, {total["accepted"]:,} payments accepted, {total["lost"]} lost, {total["doubled"]} double,
{total["phantoms"]} phantom, {total["untold"]} without their event, {total["misordered"]} out of order.**

![Payments accepted per second, and the faults](timeline.svg)

Refused: answers other than success; whoever got one knows that nothing was done, or asks again with the same key.
Whole after: from the strike until every part is ready again; people go on for a second and a half more, at least.
Carried out after: from the last payment until everything accepted is recorded and told of. No payment taken, no payment
shown, no user shown: the longest time without a good answer to `POST /payments`, `GET /payments`, `GET /users/me`.

"""
    killed = sorted((row for row in table if row["fault"].startswith("kill -9")), key=lambda row: str(row["fault"]))
    return f"{head}{_table(table, _COLUMNS)}\n## Time without answers after kill -9\n\n{_table(killed, _SILENCE)}"


def _table(rows: list[dict[str, Any]], columns: Sequence[str]) -> str:
    lines = [
        "| " + " | ".join(columns) + " |",
        "|---|" + "---:|" * (len(columns) - 1),
        *("| " + " | ".join(str(row[column]) for column in columns) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _draw(proof: Proof, file: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and needed at the end alone

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "mkstore"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    per_row = 8
    bands = [proof.rounds[first : first + per_row] for first in range(0, len(proof.rounds), per_row)]
    figure, axes = plt.subplots(len(bands), 1, figsize=(16, 2.6 * len(bands)), squeeze=False, layout="constrained")
    for axis, band in zip(axes[:, 0], bands, strict=True):
        for done in band:
            accepted = Counter(int(at) for at, what, good in done.answers if what == "pay" and good)
            refused = Counter(int(at) for at, what, good in done.answers if what == "pay" and not good)
            seconds = range(int(done.ended) + 1)
            at = [done.at + second for second in seconds]
            axis.plot(
                at, [accepted[second] for second in seconds], color="#1f6feb", linewidth=1.2, drawstyle="steps-post"
            )
            axis.plot(
                at, [refused[second] for second in seconds], color="#cf222e", linewidth=0.8, drawstyle="steps-post"
            )
            axis.axvspan(done.at + done.struck, done.at + done.whole, color="#d4a72c", alpha=0.35, linewidth=0)
            axis.annotate(
                done.fault, (done.at + done.struck, 1.0), xycoords=("data", "axes fraction"), fontsize=7, rotation=12
            )
        axis.set_ylabel("per second")
        axis.set_ylim(bottom=0)
        axis.margins(x=0.01)
    axes[-1, 0].set_xlabel(
        "seconds; blue: payments accepted, red: not accepted, yellow: from the strike until all is whole"
    )
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
