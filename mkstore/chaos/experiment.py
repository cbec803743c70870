"""One fault after the other: the load, the strike, the recovery, the audit."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mkstore.chaos.audit import Auditor
from mkstore.chaos.faults import Fault, Load
from mkstore.chaos.http_client import Api
from mkstore.chaos.ledger import Ledger, Person
from mkstore.chaos.load import LoadGenerator, signed_up
from mkstore.chaos.store import Kind, Store, running
from mkstore.chaos.verdict import Verdict

CALM_SECONDS = 1.5
"""The load runs for so long before a strike and after a recovery, to be seen."""
_POLL = 0.02


@dataclass
class Round:
    """What happened; times are seconds since the round began."""

    fault: str
    struck: float
    over: float
    """When the fault itself was over, such as a stopped process continued."""
    whole: float
    """When every part was ready again."""
    ended: float
    """When the last was paid."""
    settled: float
    """When everything that was accepted was carried out and told of."""
    accepted: int
    slowest: float
    refusals: dict[str, int]
    answers: list[tuple[float, str, bool]]
    verdict: Verdict
    surprises: list[str]
    memory: tuple[int, int]
    """Bytes that the gateway used at the beginning and at most."""
    at: float = 0.0
    """When it began, in seconds since the first round did."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, invented, untold or misordered, and no answer was wrong."""
        return self.verdict.is_clean and not self.surprises

    def silence(self, what: str) -> float:
        """Return the longest time, from the strike on, in which nobody got a good answer to `what`."""
        good = [at for at, asked, is_good in self.answers if asked == what and is_good and at >= self.struck]
        times = [self.struck, *good, self.ended]
        return max(after - before for before, after in pairwise(times))


@dataclass
class Proof:
    """All rounds on their stores."""

    load: Load
    seed: int
    say: Callable[[str], None]
    rounds: list[Round] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    async def run(self, faults: Sequence[Fault]) -> None:
        """Strike with each fault, on a store of the kind that it needs.

        Raises:
            NotWhole: the store did not come back.
            TimeoutError: what was accepted was not carried out.

        """
        for kind in Kind:
            if mine := [fault for fault in faults if fault.on is kind]:
                async with running(kind) as store, Api(store.url) as api:
                    most = max((fault.load or self.load).payers for fault in mine)
                    payers, auditor = await signed_up(api, most), Auditor(store)
                    for fault in mine:
                        done = await self._round(store, api, payers, auditor, fault)
                        self.rounds.append(done)
                        self.say(sentence(done))

    async def _round(self, store: Store, api: Api, payers: list[Person], auditor: Auditor, fault: Fault) -> Round:
        ledger, load = Ledger(), fault.load or self.load
        crowd = LoadGenerator(api, payers[: load.payers], ledger, seed=self.seed + len(self.rounds), rate=load.rate)
        began = time.monotonic()
        memory: list[int] = []
        watching = asyncio.create_task(_watch(store, memory))
        crowd.start()
        try:
            await asyncio.sleep(CALM_SECONDS)
            await store.wait_until_steady(fault.kills)
            struck = time.monotonic() - began
            await fault.strike(store)
            over = time.monotonic() - began
            await store.wait_until_whole()
            whole = time.monotonic() - began
            while ledger.accepted < load.payments or time.monotonic() - began < whole + CALM_SECONDS:  # noqa: ASYNC110 - a counter sets no event
                await asyncio.sleep(_POLL)
        finally:
            ended = time.monotonic() - began
            await crowd.stop()
            watching.cancel()
        await auditor.wait_until_settled(fault.poisons)
        settled = time.monotonic() - began
        verdict = await auditor.audit(ledger, payers)
        return Round(
            fault=fault.name,
            struck=struck,
            over=over,
            whole=whole,
            ended=ended,
            settled=settled,
            accepted=ledger.accepted,
            slowest=ledger.slowest,
            refusals=dict(ledger.refusals),
            answers=sorted((at - began, what, good) for at, what, good in ledger.answers),
            verdict=verdict,
            surprises=ledger.surprises,
            memory=(memory[0], max(memory[1:], default=memory[0])),
            at=began - self.began,
        )


async def _watch(store: Store, memory: list[int]) -> None:
    while True:
        memory.append(store.memory("gateway"))
        await asyncio.sleep(1)


def sentence(done: Round) -> str:
    """Say how a round ended."""
    found = [*(f"{len(what)} {name}" for name, what in done.verdict.faults.items() if what)]
    found += [f"{len(done.surprises)} wrong answers"] if done.surprises else []
    examples = [what[0] for what in (*done.verdict.faults.values(), done.surprises) if what]
    verdict = "0 lost, 0 double, 0 phantom" if done.is_clean else "; ".join([*found, *examples])
    return (
        f"{done.fault}: {done.accepted} accepted, {done.verdict.recorded} recorded; whole after "
        f"{done.whole - done.struck:.1f} s, no payment taken for {done.silence('pay'):.1f} s; {verdict}"
    )
