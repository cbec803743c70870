"""The scenarios without HTTP load: memory and processor time of idle processes, and the limits of the servers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mkstore.bench.load.measure import Turn
from mkstore.bench.load.processor import memory, processor_times
from mkstore.bench.load.target import Target
from mkstore.bench.samples import Sample
from mkstore.bench.scenarios.reads import send_all

SERVERS = frozenset({"nats", "postgres"})
_MB = 1e6
_FIRST_REQUESTS = 100


@dataclass(frozen=True)
class IdleScenario:
    """Memory and processor time while nothing is requested: in round 0 after the start, then after the load."""

    name: str = "idle"
    description: str = "Memory (RSS and PSS) and processor time of the processes while nothing is requested."

    def concurrencies(self, wanted: Sequence[int]) -> Sequence[int]:  # noqa: ARG002 - a Scenario
        """Return 0: it has no load."""
        return (0,)

    async def prepare(self, target: Target, turn: Turn) -> None:
        """After the start send a few requests, so that everything is loaded; wait until it is idle."""
        if turn.round == 0:
            await send_all(target, [target.get_user(one) for one in target.users[:_FIRST_REQUESTS]])
            await asyncio.sleep(1)

    async def measure(self, target: Target, turn: Turn, prepared: None) -> list[Sample]:  # noqa: ARG002 - a Scenario
        """Measure for one turn."""
        before = processor_times(target.parts())
        await asyncio.sleep(turn.seconds)
        after = processor_times(target.parts())
        figures = {
            f"{part} processor (% of a core)": round(100 * (after[part] - before[part]) / turn.seconds, 2)
            for part in before
        }
        used = memory(target.parts())
        figures |= {f"{part} RSS (MB)": round(one.rss / _MB, 1) for part, one in used.items()}
        figures |= {f"{part} PSS (MB)": round(one.pss / _MB, 1) for part, one in used.items()}
        own = [one for part, one in used.items() if part not in SERVERS]
        used_seconds = sum(after[part] - before[part] for part in before if part not in SERVERS)
        figures["services processor (% of a core)"] = round(100 * used_seconds / turn.seconds, 2)
        figures["services RSS (MB)"] = round(sum(one.rss for one in own) / _MB, 1)
        figures["services PSS (MB)"] = round(sum(one.pss for one in own) / _MB, 1)
        variant = "after the start" if turn.round == 0 else "after load"
        return [Sample(turn.round, self.name, target.name, 0, variant, figures=figures)]


@dataclass(frozen=True)
class LimitScenario:
    """What NATS and PostgreSQL do alone, with a client in Python."""

    name: str = "limits"
    description: str = "NATS and PostgreSQL alone, with a client in Python: operations or rows per second."

    def concurrencies(self, wanted: Sequence[int]) -> Sequence[int]:  # noqa: ARG002 - a Scenario
        """Return 0: each operation has its own number."""
        return (0,)

    async def prepare(self, target: Target, turn: Turn) -> None:
        """Prepare nothing."""

    async def measure(self, target: Target, turn: Turn, prepared: None) -> list[Sample]:  # noqa: ARG002 - a Scenario
        """Measure each operation for a part of the turn."""
        rates = await target.limits(turn.seconds) if target.limits else {}
        return [
            Sample(turn.round, self.name, target.name, 0, operation, rate=round(rate, 1))
            for operation, rate in rates.items()
        ]
