"""Runs one fault after another: load, fault, recovery, audit."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from kit.runtime.tasks import cancel_and_wait
from mkstore.chaos.audit import Auditor
from mkstore.chaos.faults import REUSED_KEYS, Fault, Load
from mkstore.chaos.http_client import Api
from mkstore.chaos.ledger import Ledger, User
from mkstore.chaos.load import LoadGenerator, register_payers
from mkstore.chaos.store import Store
from mkstore.chaos.temporary_store import Kind, running
from mkstore.chaos.verdict import Verdict

CALM_DURATION = 1.5
"""Seconds of load before a fault and after the recovery, so that both are visible."""
_POLL_INTERVAL = 0.02
_MEMORY_INTERVAL = 1.0
_FAILED_AT = 100
"""Unexpected responses after which a round waits for no more payments."""


@dataclass
class Round:
    """The result of one fault; times are seconds since the round began."""

    fault: str
    injected: float
    ended: float
    """When the fault ended, for example when a stopped process continued."""
    recovered: float
    """When every process was ready again."""
    load_ended: float
    drained: float
    """When everything accepted was recorded and its events were published."""
    accepted: int
    slowest: float
    refusals: dict[str, int]
    answers: list[tuple[float, str, bool]]
    verdict: Verdict
    unexpected: list[str]
    memory: tuple[int, int]
    """Bytes used by the gateway at the beginning, and the maximum."""
    began: float = 0.0
    """Seconds since the first round began."""

    @property
    def is_clean(self) -> bool:
        """Whether there was no violation and no unexpected response."""
        return self.verdict.is_clean and not self.unexpected

    def outage(self, operation: str) -> float:
        """Return the longest time in seconds, after the fault, without a successful response to `operation`."""
        good = [at for at, name, is_good in self.answers if name == operation and is_good and at >= self.injected]
        times = [self.injected, *good, self.load_ended]
        return max(after - before for before, after in pairwise(times))


@dataclass
class Proof:
    """Every round of a run."""

    load: Load
    seed: int
    say: Callable[[str], None]
    command: str = "mkstore prove"
    """The command of the run, for its report."""
    rounds: list[Round] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    async def run(self, faults: Sequence[Fault]) -> None:
        """Inject each fault, on a store of the kind that it needs.

        Raises `NotRecovered` if the store does not recover, `TimeoutError` if accepted work is not carried out.
        """
        for kind in Kind:
            if selected := [fault for fault in faults if fault.on is kind]:
                async with running(kind) as store, Api(store.url) as api:
                    payers = await register_payers(api, max((fault.load or self.load).payers for fault in selected))
                    auditor = Auditor(store)
                    await auditor.skip_history()
                    for fault in selected:
                        done = await self._round(store, api, payers, auditor, fault)
                        self.rounds.append(done)
                        self.say(sentence(done))

    async def _round(self, store: Store, api: Api, payers: list[User], auditor: Auditor, fault: Fault) -> Round:
        await store.wait_until_stable(fault.kills)
        ledger, load = Ledger(), fault.load or self.load
        generator = LoadGenerator(
            api,
            payers[: load.payers],
            ledger,
            seed=self.seed + len(self.rounds),
            rate=load.rate,
            reused_keys=REUSED_KEYS,
            revoked_within=fault.revoked_within,
        )
        began = time.monotonic()
        memory: list[int] = []
        sampling = asyncio.create_task(_sample_memory(store, memory))
        generator.start()
        try:
            await asyncio.sleep(CALM_DURATION)
            injected = time.monotonic() - began
            generator.reuse_newest(load.reused_keys)
            await fault.inject(store)
            generator.reuse_newest(REUSED_KEYS)
            ended = time.monotonic() - began
            await store.wait_until_recovered()
            recovered = time.monotonic() - began
            await load_continued(ledger, load.payments, until=began + recovered + CALM_DURATION)
        finally:
            load_ended = time.monotonic() - began
            await generator.stop()
            await cancel_and_wait([sampling])
        await auditor.wait_until_drained(fault.dead_letters)
        drained = time.monotonic() - began
        verdict = await auditor.audit(ledger)
        return Round(
            fault=fault.name,
            injected=injected,
            ended=ended,
            recovered=recovered,
            load_ended=load_ended,
            drained=drained,
            accepted=ledger.accepted,
            slowest=ledger.slowest,
            refusals=dict(ledger.refusals),
            answers=sorted((at - began, operation, good) for at, operation, good in ledger.answers),
            verdict=verdict,
            unexpected=ledger.unexpected,
            memory=(memory[0], max(memory[1:], default=memory[0])),
            began=began - self.began,
        )


async def load_continued(ledger: Ledger, payments: int, until: float) -> None:
    """Return when `payments` are accepted and the monotonic clock has reached `until`.

    Return at once when `_FAILED_AT` responses were unexpected: the round has failed, and may never reach its number.
    """
    while ledger.accepted < payments or time.monotonic() < until:
        if len(ledger.unexpected) >= _FAILED_AT:
            return
        await asyncio.sleep(_POLL_INTERVAL)


async def _sample_memory(store: Store, memory: list[int]) -> None:
    while True:
        memory.append(store.memory("gateway"))
        await asyncio.sleep(_MEMORY_INTERVAL)


def sentence(done: Round) -> str:
    """Return the result of a round in one line."""
    counts = [f"{len(sentences)} {name}" for name, sentences in done.verdict.violations.items() if sentences]
    counts += [f"{len(done.unexpected)} unexpected responses"] if done.unexpected else []
    examples = [sentences[0] for sentences in (*done.verdict.violations.values(), done.unexpected) if sentences]
    verdict = "0 lost, 0 duplicated, 0 phantom" if done.is_clean else "; ".join([*counts, *examples])
    return (
        f"{done.fault}: {done.accepted} accepted, {done.verdict.recorded} recorded; recovered after "
        f"{done.recovered - done.injected:.1f} s, no payment accepted for {done.outage('pay'):.1f} s; {verdict}"
    )
