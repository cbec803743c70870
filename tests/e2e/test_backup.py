"""A backup under load, and its restore into a new store after everything was destroyed."""

import asyncio
import copy
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mkstore.chaos.audit import Auditor
from mkstore.chaos.http_client import Api, Outcome
from mkstore.chaos.ledger import Attempt, Ledger, User
from mkstore.chaos.load import LoadGenerator, register_payers
from mkstore.chaos.store import Store
from tests.support.http_client import say
from tests.support.polling import eventually
from tests.support.running_store import MKSTORE, Running, running

_RATE = 100
"""Payments per second."""
_SETTINGS = {"RATE_LIMIT_ENABLED": "false", "LOG_LEVEL": "WARNING"}


async def _mkstore(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        MKSTORE, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


def _as_answered(before: Ledger, whole: Ledger) -> Ledger:
    """Return the whole ledger as an audit may expect it: what was not answered before the backup may be missing."""
    answered = {attempt.tag for attempt in before.attempts if attempt.id}
    changes = {user.email: sum(change.version is not None for change in user.changes) for user in before.users}
    expected = copy.deepcopy(whole)
    for attempt in expected.attempts:
        if attempt.tag not in answered:
            attempt.id, attempt.uncertain = None, True
    for user in expected.users:
        done = changes.get(user.email, 0)
        user.id = user.id if done else None
        for change in user.changes[done:]:
            change.version, change.uncertain = None, True
    return expected


@asynccontextmanager
async def _load(api: Api, payers: Sequence[User], ledger: Ledger) -> AsyncIterator[LoadGenerator]:
    generator = LoadGenerator(api, payers, ledger, rate=_RATE)
    generator.start()
    try:
        yield generator
        await generator.stop()
    finally:
        await generator.cancel()


async def _back_up_under_load(store: Store, folder: Path) -> tuple[list[User], Ledger, Ledger]:
    """Return the payers, the ledger at the beginning of the backup, and that at the end of the load."""
    ledger = Ledger()
    async with Api(store.url) as api:
        payers = await register_payers(api, 8)
        ledger.users += payers
        async with _load(api, payers, ledger):
            await eventually(lambda: ledger.accepted >= 2 * _RATE)
            before = copy.deepcopy(ledger)
            parts = json.loads(await _mkstore("backup", str(folder), "--home", str(store.home), "--json"))
            during = ledger.accepted - before.accepted
            await eventually(lambda: ledger.accepted >= before.accepted + during + _RATE)
    assert during
    say(f"backup: {before.accepted} payments before, {during} during it, {sum(each['bytes'] for each in parts)} bytes")
    return payers, before, ledger


async def _pay_again(store: Store, payers: Sequence[User], attempts: Sequence[Attempt]) -> None:
    """Repeat every payment with a key, as a client does that has lost its responses: each has the id that it had."""
    payer_of = {payer.id: payer for payer in payers}
    async with Api(store.url) as api:
        for attempt in attempts:
            body = {"amount": 100, "metadata": {"tag": attempt.tag}}
            headers, token = {"Idempotency-Key": str(attempt.key)}, payer_of[attempt.payer].token
            answer = await api("POST", "/payments", token=token, headers=headers, json=body)
            assert (answer.outcome, answer.json["id"]) == (Outcome.DONE, attempt.id), answer


async def _audit(store: Store, expected: Ledger) -> None:
    auditor = Auditor(store)
    await auditor.wait_until_drained()
    verdict = await auditor.audit(expected)
    assert verdict.is_clean, verdict.violations
    say(f"restored: {verdict.recorded} payments are recorded")


@pytest.fixture
def parent() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mkstore-") as folder:
        path = Path(folder)
        for part in (path, path / "lost", path / "new"):
            part.mkdir(exist_ok=True)
            part.chmod(0o711)  # PostgreSQL may run as another user, which must be able to traverse it
        yield path


async def _restore_into(new: Path, folder: Path, lost: Path) -> None:
    """Destroy a store, and restore its backup into a new one."""
    shutil.copy(lost / "secrets.json", new)  # JWT_SECRET is in no backup
    shutil.rmtree(lost)
    with running("--home", str(new), "--only", "nats,postgres", "--port", "0", command=(MKSTORE, "up")):
        await _mkstore("restore", str(folder), "--home", str(new))


async def test_restored_store_has_every_answered_change_once(parent: Path) -> None:
    lost, new, folder = parent / "lost", parent / "new", parent / "backup"
    with running("--home", str(lost), "--port", "0", "--workers", "1", env=_SETTINGS) as store:
        payers, before, ledger = await _back_up_under_load(store, folder)
    await _restore_into(new, folder, lost)
    with running("--home", str(new), "--port", "0", "--workers", "1", env=_SETTINGS) as restored:
        expected = _as_answered(before, ledger)
        await _audit(restored, expected)
        await _repeat_and_audit(restored, payers, ledger, expected)


async def test_payments_that_waited_in_their_streams_are_recorded_after_a_restore(parent: Path) -> None:
    lost, new, folder = parent / "lost", parent / "new", parent / "backup"
    options, ledger = ("--home", str(lost), "--without", "payments", "--port", "0", "--workers", "1"), Ledger()
    with running(*options, env=_SETTINGS, command=(MKSTORE, "up")) as store:
        async with Api(store.url) as api:
            ledger.users += await register_payers(api, 4)
            load = LoadGenerator(api, ledger.users, ledger, payments=60, read_back=0, changes_users=False, probes=False)
            load.start()
            await load.finish()
        await _mkstore("backup", str(folder), "--home", str(store.home))
    assert ledger.accepted == 60
    await _restore_into(new, folder, lost)
    with running("--home", str(new), "--port", "0", "--workers", "1", env=_SETTINGS) as restored:
        await _audit(restored, ledger)


async def _repeat_and_audit(store: Running, payers: Sequence[User], ledger: Ledger, expected: Ledger) -> None:
    keyed = [attempt for attempt in ledger.attempts if attempt.key and attempt.id]
    await _pay_again(store, payers, keyed)
    ids = {attempt.tag: attempt.id for attempt in keyed}
    for attempt in expected.attempts:
        attempt.id = ids.get(attempt.tag, attempt.id)
    await _audit(store, expected)
