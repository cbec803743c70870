"""`mkstore prove`: injects faults under load and counts what was lost."""

import asyncio
import random
from dataclasses import replace
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
    "kill -9 the leader",
    "the standby is promoted",
)


def prove(
    payments: Annotated[int, typer.Option(min=100, help="Minimum number of payments in all.")] = 100_000,
    *,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Run the faults of a cluster: 50 payments/s, back within 10 s.")
    ] = False,
    short: Annotated[
        bool, typer.Option("--short", help="Run six faults (of a cluster two) with 100 payments each.")
    ] = False,
    only: Annotated[str, typer.Option(help="Run only faults whose name contains this text.")] = "",
    payers: Annotated[
        int | None, typer.Option(min=1, max=150, help="Concurrent payers.", show_default="32, short: 8")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed for the order of the faults and for the load.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Write table, chart and figures into this folder.")] = None,
    json: JsonOption = False,
) -> None:
    """Start a store, inject every known fault under load, and count what was lost.

    Exit 1 if anything was lost, duplicated, phantom, unannounced or out of order, or a response was unexpected.
    """
    from mkstore.chaos import report as reports  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from mkstore.chaos.cluster_faults import BACK_WITHIN, CLUSTER_LOAD, every_cluster_fault  # noqa: PLC0415
    from mkstore.chaos.experiment import Proof  # noqa: PLC0415
    from mkstore.chaos.faults import Load, every_fault  # noqa: PLC0415
    from mkstore.chaos.load import RegistrationFailed  # noqa: PLC0415
    from mkstore.chaos.store import NotRecovered  # noqa: PLC0415

    every = every_cluster_fault() if cluster else every_fault()
    faults = [fault for fault in every if only in fault.name and (not short or fault.name in _SHORT)]
    if not faults:
        fail(f"No fault name contains {only!r}. Faults: " + "; ".join(fault.name for fault in every))
    random.Random(seed).shuffle(faults)  # noqa: S311 - not a secret
    if short:
        load = Load(payers or 8, payments=100, rate=25.0)
    elif cluster:
        load = replace(CLUSTER_LOAD, payers=payers or CLUSTER_LOAD.payers)
    else:
        fixed = sum(fault.load.payments for fault in faults if fault.load)
        each = -(-(payments - fixed) // max(1, sum(not fault.load for fault in faults)))
        load = Load(payers or 32, max(each, 1))
    command = "mkstore prove --cluster" if cluster else "mkstore prove"
    proof = Proof(load, seed, lambda text: typer.echo(text, err=json), command)
    try:
        asyncio.run(proof.run(faults))
    except (NotRecovered, RegistrationFailed, TimeoutError) as error:
        fail(f"The run failed: {error}")
    finally:
        if report is not None and proof.rounds:
            reports.write(proof, report)
    show("results by fault", reports.SHORT_COLUMNS, reports.rows(proof), as_json=json)
    total = reports.summary(proof)
    typer.echo(", ".join(f"{value} {name}" for name, value in total.items() if isinstance(value, int)), err=json)
    if not all(done.is_clean for done in proof.rounds):
        fail("The delivery guarantees were violated; see the lines above.")
    if cluster and not short and (late := [done.fault for done in proof.rounds if done.outage("pay") > BACK_WITHIN]):
        fail(f"No payment was accepted for more than {BACK_WITHIN:g} s: {'; '.join(late)}.")
