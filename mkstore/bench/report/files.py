"""The report of a run: tables in Markdown, plots, and all figures as JSON."""

import textwrap
from pathlib import Path

from mkstore.bench.contenders.registry import every_contender
from mkstore.bench.report import markdown
from mkstore.bench.report.plots import draw
from mkstore.bench.samples import Result
from mkstore.bench.scenarios.registry import LIMITS, every_scenario

_COMMAND_WIDTH = 100
_HEAD = """# Compared with its peers: the last run

```sh
{command}
```

At commit {commit}, {date}; rounds: {rounds}, turns of {seconds} s.

- **Ratios, not rates.** The contenders take turns, scenario by scenario; each ratio is computed within one round.
  A table shows the median of the rounds and, in brackets, the lowest and the highest.
- **The load shares the processors with the servers.** wrk, the servers and all services run on the same cores, so all
  rates are lower than with a load on another machine, and the contender that needs less processor leaves more to wrk.
- Every contender has its own nats-server (each message synced to disk) and PostgreSQL, with the same settings.
  All of them run the whole time, and one at a time has load. Ready services have nice value 4, as in `mkstore up`.
- The load draws requests at random: from 1,000 users, each with its own token, and with other amounts, metadata and
  keys each time. Of the users, one signed up over HTTP and the others are copies of its row; the tokens of this store
  are signed with its own key. Latency is that of a closed loop: a client sends its next request after the response.
- wrk counts every response that is not 2xx or 3xx. Ten responses of each turn are compared with what they should
  contain. After each turn that pays, the rows are counted and compared with the accepted payments.
- Rate limits off: `RATE_LIMIT_ENABLED=false`. On: with ceilings that the load does not reach. The access line is off,
  as no peer writes one, except for `mkstore-access-line`.
- Processor time is that of all processes of a contender, its servers included and wrk excluded, divided by the number
  of requests.
"""


def write(result: Result, folder: Path) -> None:
    """Write `README.md`, `report.json` and the plots into `folder`. Raises `OSError` if it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(result.to_json())
    plots = draw(result.samples, folder)
    (folder / "README.md").write_text(_markdown(result, plots))


def text(result: Result) -> str:
    """Return the tables of goals and rates, for a terminal."""
    with_rates = dict.fromkeys(sample.scenario for sample in result.samples if sample.rate)
    tables = [
        f"{scenario}\n{(markdown.operations if scenario == LIMITS else markdown.rates)(result.samples, scenario)}"
        for scenario in with_rates
    ]
    return "\n".join([*tables, markdown.goals(result.samples), markdown.checks(result)])


def _markdown(result: Result, plots: list[str]) -> str:
    command = " \\\n  ".join(textwrap.wrap(f"uv run {result.command}", _COMMAND_WIDTH, break_on_hyphens=False))
    facts = {**result.machine, "command": command, "rounds": result.rounds, "seconds": result.seconds}
    measured = {sample.contender for sample in result.samples}
    sections = [
        _HEAD.format(**facts),
        "## Goals\n\nA figure in bold does not reach its goal.\n\n" + markdown.goals(result.samples),
        "## Contenders\n\n"
        + markdown.table(
            ["contender", "what it is"],
            [[one.name, one.description] for one in every_contender() if one.name in measured],
            left=2,
        ),
    ]
    sections += [f"{plot}\n" for plot in plots]
    for scenario in every_scenario():
        own = [sample for sample in result.samples if sample.scenario == scenario.name]
        if not own:
            continue
        section = f"## {scenario.name}\n\n{scenario.description}\n"
        if scenario.name == LIMITS:
            section += f"\n{markdown.operations(own, scenario.name)}"
        elif any(sample.rate for sample in own):
            section += f"\n{markdown.rates(own, scenario.name)}"
        if any(sample.processor for sample in own):
            section += f"\nMicroseconds of processor time per request:\n\n{markdown.parts(own, scenario.name)}"
        if any(sample.figures for sample in own):
            section += f"\n{markdown.figures(own, scenario.name)}"
        sections.append(section)
    machine = markdown.table(["machine", "value"], list(map(list, result.machine.items())), left=2)
    return "\n".join([*sections, "## Checks\n", markdown.checks(result), "## Machine\n", machine])
