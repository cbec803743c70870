"""`mkstore prove`: the short run succeeds, and manipulated data on a real store is found."""

import json
import subprocess
import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from mkstore.chaos.audit import Auditor
from mkstore.chaos.faults import every_fault
from mkstore.chaos.http_client import Api
from mkstore.chaos.ledger import Ledger
from mkstore.chaos.load import LoadGenerator, register_payers
from mkstore.chaos.store import PROCESSES, Kind, Store, eventually, running
from mkstore.chaos.verdict import Verdict
from tests.support.running_store import MKSTORE

VIOLATIONS = Verdict().violations


def test_short_run_loses_nothing_and_writes_its_report(tmp_path: Path) -> None:
    done = subprocess.run(
        [MKSTORE, "prove", "--short", "--json", "--report", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert {f"kill -9 {part}" for part in PROCESSES} < {row["fault"] for row in rows}
    assert all(row["accepted"] >= 200 for row in rows)
    assert not any(row[name] for row in rows for name in VIOLATIONS)
    summary = json.loads((tmp_path / "report.json").read_text())["summary"]
    assert summary["faults"] == len(rows)
    assert summary["accepted"] == sum(row["accepted"] for row in rows)
    assert f"**{len(rows)} faults" in (tmp_path / "README.md").read_text()
    assert "kill -9 nats" in (tmp_path / "timeline.svg").read_text()


def test_long_run_covers_every_process() -> None:
    names = [fault.name for fault in every_fault()]
    assert len(set(names)) == len(names) >= 30
    for part in PROCESSES:
        restart = "SIGINT postgres" if part == "postgres" else f"SIGTERM {part}"
        assert {f"kill -9 {part}", restart, f"{part} paused for 10 s"} <= set(names)


async def _manipulate(store: Store, database: str, statement: str, *arguments: object) -> None:
    url = urlsplit(store.record["postgres"]["url"])
    connection = await asyncpg.connect(urlunsplit(url._replace(path=f"/{database}")))
    try:
        assert (await connection.execute(statement, *arguments)).endswith(" 1")
    finally:
        await connection.close()


async def test_audit_finds_manipulated_rows_of_a_running_store() -> None:
    async with running(Kind.PLAIN) as store, Api(store.url) as api:
        payers, auditor, ledger = await register_payers(api, 4), Auditor(store), Ledger()
        load_generator = LoadGenerator(api, payers, ledger, seed=1)
        load_generator.start()

        async def enough() -> bool:
            return ledger.accepted >= 100 and len(ledger.users) > 3

        assert await eventually(enough, timeout=60)
        await load_generator.stop()
        await auditor.wait_until_drained(0)
        lost, renamed, *_ = (attempt.id for attempt in ledger.attempts if attempt.id)
        await _manipulate(store, "payments_db", "DELETE FROM payments WHERE id = $1", lost)
        await _manipulate(store, "payments_db", "UPDATE payments SET metadata = '{}' WHERE id = $1", renamed)
        await _manipulate(
            store,
            "payments_db",
            "INSERT INTO payments (id, user_id, amount, currency, metadata, status, created_at) "
            "SELECT $1, user_id, amount, currency, '{}', status, created_at FROM payments LIMIT 1",
            uuid.uuid4(),
        )
        await _manipulate(store, "users_db", "UPDATE users SET version = 9 WHERE id = $1", ledger.users[0].id)
        verdict = await auditor.audit(ledger, payers)
        assert len(verdict.lost) == 2, verdict
        assert len(verdict.phantom) == 3, verdict  # an event without a row, a row nobody asked for, one row too many
        assert len(verdict.unannounced) == 1, verdict
        assert (await auditor.audit(Ledger(), payers)).is_clean
