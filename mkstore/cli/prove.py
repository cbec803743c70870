"""`mkstore prove`: the command."""

import asyncio
import random
from pathlib import Path
from typing import Annotated

import typer

from mkstore.cli.support import JsonOption, fail, show

_SHORT = (
    "kill -9 gateway",
    "kill -9 users",
    "kill -9 payments",
    "kill -9 nats",
    "kill -9 postgres",
    "dies at payments.after-commit",
)


def prove(
    payments: Annotated[int, typer.Option(min=100, help="Payments in all, at least.")] = 100_000,
    *,
    short: Annotated[bool, typer.Option("--short", help="A handful of faults, 200 payments each: a minute.")] = False,
    only: Annotated[str, typer.Option(help="Only the faults whose name contains this.")] = "",
    payers: Annotated[
        int | None, typer.Option(min=1, max=150, help="How many pay at once.", show_default="32, short: 8")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order of the faults and of the load.")] = 1,
    report: Annotated[Path | None, typer.Option(help="A folder for the table, the picture and the figures.")] = None,
    json: JsonOption = False,
) -> None:
    """Break a store of its own in every known way, under load, and count what was lost.

    Exits with 1 when anything was lost, doubled, invented, not told, out of order, or answered wrongly.
    """
    from mkstore.chaos import report as reports  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from mkstore.chaos.experiment import Proof  # noqa: PLC0415
    from mkstore.chaos.faults import Load, every_fault  # noqa: PLC0415
    from mkstore.chaos.store import NotWhole  # noqa: PLC0415

    faults = [fault for fault in every_fault() if only in fault.name and (not short or fault.name in _SHORT)]
    if not faults:
        fail(f"No fault has {only!r} in its name. There are: " + "; ".join(fault.name for fault in every_fault()))
    random.Random(seed).shuffle(faults)  # noqa: S311 - no secret
    own = sum(fault.load.payments for fault in faults if fault.load)
    each = 200 if short else -(-(payments - own) // max(1, sum(not fault.load for fault in faults)))
    proof = Proof(Load(payers or (8 if short else 32), max(each, 1)), seed, lambda text: typer.echo(text, err=json))
    try:
        asyncio.run(proof.run(faults))
    except (NotWhole, TimeoutError) as error:
        fail(f"The proof failed: {error}")
    finally:
        if report is not None and proof.rounds:
            reports.write(proof, report)
    show("what was kept, and what was not", reports.SHORT_COLUMNS, reports.rows(proof), as_json=json)
    total = reports.summary(proof)
    typer.echo(", ".join(f"{value} {name}" for name, value in total.items() if isinstance(value, int)), err=json)
    if not all(done.is_clean for done in proof.rounds):
        fail("Something accepted was not kept; the lines above say what.")
