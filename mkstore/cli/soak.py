"""`mkstore soak`: mixed traffic for a long time, and what each process uses meanwhile."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from mkstore.cli.support import JsonOption, fail, show


def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="Length of the load.")] = 24.0,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Requests per second.")] = 100.0,
    seed: Annotated[int, typer.Option(help="Seed of the load.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Write table, plot and readings into this folder.")] = None,
    json: JsonOption = False,
) -> None:
    """Start a store, load it with mixed traffic, and look for leaks of memory, open files and connections.

    Exit 1 if a request failed, or a process grew by more than the report allows.
    """
    from mkstore.bench.contenders.seed import SeedFailed  # noqa: PLC0415
    from mkstore.chaos.store import NotRecovered  # noqa: PLC0415
    from mkstore.soak import report as reports  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from mkstore.soak import run  # noqa: PLC0415

    try:
        soaked = asyncio.run(run.soak(minutes, rate, seed, lambda text: typer.echo(text, err=json)))
        if report is not None:
            reports.write(soaked, report)
    except (NotRecovered, SeedFailed, OSError) as error:
        fail(f"The run failed: {error}")
    show("use by process", tuple(reports.rows(soaked)[0]), reports.rows(soaked), as_json=json)
    typer.echo(f"{soaked.traffic.requests:,} requests, {soaked.traffic.failed} failed", err=json)
    if faults := soaked.faults():
        fail("; ".join(faults) + ".")
