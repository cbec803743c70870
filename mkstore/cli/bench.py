"""`mkstore bench`: compares the store with its peers and with the limits of the machine."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from mkstore.cli.support import fail


def bench(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender in each scenario.")] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="Length of a turn.")] = 6,
    concurrency: Annotated[str, typer.Option(help="Numbers of connections, separated by commas.")] = "1,32,128",
    scenario: Annotated[
        list[str] | None, typer.Option(help="Measure this scenario; may be repeated.", show_default="all")
    ] = None,
    contender: Annotated[
        list[str] | None, typer.Option(help="Measure this contender; may be repeated.", show_default="all")
    ] = None,
    report: Annotated[Path, typer.Option(help="Write tables, plots and figures into this folder.")] = Path(
        "docs/benchmarks"
    ),
    *,
    quick: Annotated[bool, typer.Option("--quick", help="One round with turns of a second and few users.")] = False,
) -> None:
    """Run the contenders in turns under load and report ratios of figures of the same round.

    Needs wrk (`apt install wrk`). Exit 1 if a response, a row or an event was wrong.
    """
    from mkstore.bench.contenders.registry import every_contender  # noqa: PLC0415
    from mkstore.bench.failures import EXPECTED, explained  # noqa: PLC0415
    from mkstore.bench.load import wrk  # noqa: PLC0415
    from mkstore.bench.report import files as reports  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from mkstore.bench.run import Plan, run  # noqa: PLC0415
    from mkstore.bench.scenarios.registry import every_scenario  # noqa: PLC0415

    try:
        connections = sorted({int(number) for number in concurrency.split(",")})
    except ValueError:
        fail(f"--concurrency {concurrency!r} must be numbers separated by commas, such as 1,32,128.")
    if connections[0] < 1:
        fail(f"--concurrency {concurrency!r} has a number below 1.")
    scenarios = [one for one in every_scenario() if not scenario or one.name in scenario]
    contenders = [one for one in every_contender() if (one.name in contender if contender else one.by_default)]
    _all_known("scenario", scenario or [], [one.name for one in every_scenario()])
    _all_known("contender", contender or [], [one.name for one in every_contender()])
    if not any(one.takes_part(each.name) for one in contenders for each in scenarios):
        fail("None of these contenders has one of these scenarios.")
    if quick:
        plan = Plan(contenders, scenarios, connections, rounds=1, seconds=1, users=50, warm_up=False)
    else:
        plan = Plan(contenders, scenarios, connections, rounds, seconds)
    try:
        wrk.find()
        result = asyncio.run(run(plan, typer.echo, " ".join(["mkstore", *sys.argv[1:]])))
        reports.write(result, report)
    except EXPECTED as error:
        fail(explained(error))
    typer.echo(reports.text(result))
    if any(sample.wrong or sample.failures for sample in result.samples):
        fail("Some responses, rows or events were wrong; see the lines above.")


def _all_known(kind: str, chosen: list[str], known: list[str]) -> None:
    for name in chosen:
        if name not in known:
            fail(f"There is no {kind} {name!r}; there are {', '.join(known)}.")
