"""The load of `mkstore prove` on a store that tests share, with its audit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mkstore.chaos.audit import Auditor
from mkstore.chaos.http_client import Api
from mkstore.chaos.ledger import Ledger, User
from mkstore.chaos.load import LoadGenerator, register_payers
from mkstore.chaos.store import Store
from tests.support.polling import eventually


class AuditedLoad:
    """A load in progress."""

    def __init__(self, api: Api, payers: list[User], generator: LoadGenerator) -> None:
        self.api = api
        self.payers = payers
        self.generator = generator
        self.ledger = generator.ledger

    async def wait_until_accepted(self, number: int) -> None:
        """Return once this number of payments was accepted."""
        await eventually(lambda: self.ledger.accepted >= number, describe=lambda: f"{self.ledger.accepted} accepted")

    def __str__(self) -> str:
        """Return the figures in a sentence."""
        return f"{self.ledger.accepted} payments accepted; refused: {dict(self.ledger.refusals)}"


@asynccontextmanager
async def audited_load(
    store: Store, *, payments: int | None = None, payers: int = 4, loops: int = 1, start: bool = True, **options: Any
) -> AsyncIterator[AuditedLoad]:
    """Let each of `payers` pay in a number of `loops` at once until the end of the block; then audit.

    With `payments`, the block ends when that number is made; without `start`, the block itself starts `generator`.
    `options` are those of `LoadGenerator`. Fails unless every request was answered in time, everything accepted is
    recorded once with one event, nothing else is recorded, and no message was dead-lettered. Nobody else may pay, and
    no user may change, during the block.
    """
    async with Api(store.url) as api:
        people, auditor = await register_payers(api, payers), Auditor(store)
        await auditor.skip_history()
        generator = LoadGenerator(
            api, people * loops, Ledger(), payments=payments, **{"changes_users": False, "probes": False, **options}
        )
        if start:
            generator.start()
        load = AuditedLoad(api, people, generator)
        try:
            yield load
        except BaseException:
            await generator.cancel()
            raise
        await (generator.stop() if payments is None else generator.finish())
        await auditor.wait_until_drained()
        verdict = await auditor.audit(load.ledger)
    assert verdict.is_clean, verdict.violations
    assert not load.ledger.unexpected, load.ledger.unexpected[:5]
    assert not [code for code in load.ledger.refusals if "Timeout" in code], load.ledger.refusals
    assert payments in {None, len(load.ledger.attempts)}
    assert all(attempt.id or not attempt.key for attempt in load.ledger.attempts), "a payment with a key was given up"
