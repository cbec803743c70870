"""The audit of `mkstore prove` finds manipulated data in a real store."""

import uuid

from mkstore.chaos.audit import Auditor
from mkstore.chaos.http_client import Api
from mkstore.chaos.ledger import Ledger
from mkstore.chaos.load import LoadGenerator, register_payers
from tests.support.polling import eventually
from tests.support.running_store import Running


async def test_audit_finds_manipulated_rows_of_a_running_store(unlimited_store: Running) -> None:
    store = unlimited_store
    async with Api(store.url) as api:
        payers, auditor, ledger = await register_payers(api, 2), Auditor(store), Ledger()
        await auditor.skip_history()
        load = LoadGenerator(api, payers, ledger, rate=20)
        load.start()
        await eventually(lambda: ledger.accepted >= 20 and len(ledger.users) > 2)
        await load.stop()
    await auditor.wait_until_drained()
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
    verdict = await auditor.audit(ledger)
    assert len(verdict.lost) == 2, verdict
    assert len(verdict.phantom) == 3, verdict  # an event without a row, a row without a request, one row too many
    assert len(verdict.unannounced) == 1, verdict
    assert (await auditor.audit(Ledger())).is_clean


async def _manipulate(store: Running, database: str, statement: str, *arguments: object) -> None:
    async with store.database(database) as connection:
        assert (await connection.execute(statement, *arguments)).endswith(" 1")
