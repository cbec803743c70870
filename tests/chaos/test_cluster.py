"""`mkstore prove --cluster`: the short run loses nothing, and the long one has a fault for each part of a cluster."""

import json
import subprocess

from mkstore.chaos.cluster_faults import every_cluster_fault
from mkstore.chaos.store import SERVICE_NAMES
from mkstore.chaos.temporary_store import Kind
from mkstore.chaos.verdict import Verdict
from tests.support.running_store import MKSTORE

VIOLATIONS = Verdict().violations


def test_short_run_loses_nothing() -> None:
    done = subprocess.run(
        [MKSTORE, "prove", "--cluster", "--short", "--json"], capture_output=True, text=True, check=False, timeout=290
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert {row["fault"] for row in rows} == {"kill -9 the leader", "the standby is promoted"}
    assert all(row["accepted"] >= 100 for row in rows)
    assert not any(row[violation] for row in rows for violation in VIOLATIONS)


def test_long_run_covers_every_part() -> None:
    faults = every_cluster_fault()
    names = {fault.name for fault in faults}
    assert len(names) == len(faults)
    assert {f"kill -9 one of two {name}" for name in SERVICE_NAMES} <= names
    assert {f"kill -9 {part}" for part in ("the leader", "a follower", "the primary", "the standby")} <= names
    assert {fault.on for fault in faults} == {kind for kind in Kind if kind.is_cluster}
