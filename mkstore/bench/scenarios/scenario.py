"""What a scenario is, and those that only send one kind of request."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

from mkstore.bench.load.calls import Call
from mkstore.bench.load.measure import Turn, under_load
from mkstore.bench.load.target import Target
from mkstore.bench.samples import Sample

Calls = Callable[[Target, Random], Awaitable[Sequence[Call]]]
"""Returns the requests of a turn, of which wrk draws one at random each time."""


class Scenario(Protocol):
    """A kind of load."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def description(self) -> str:
        """One sentence for the report."""

    def concurrencies(self, wanted: Sequence[int]) -> Sequence[int]:
        """Return the numbers of connections with which it is measured, among those `wanted`."""

    async def prepare(self, target: Target, turn: Turn) -> Any:
        """Prepare a contender for one round; what it returns is passed to `measure`."""

    async def measure(self, target: Target, turn: Turn, prepared: Any) -> list[Sample]:
        """Measure one turn."""


@dataclass(frozen=True)
class RequestScenario:
    """One kind of request; at most `highest` connections."""

    name: str
    description: str
    calls: Calls
    highest: int | None = None

    def concurrencies(self, wanted: Sequence[int]) -> Sequence[int]:
        """Return those `wanted`, none above `highest`."""
        limit = self.highest
        return sorted({min(number, limit) for number in wanted}) if limit else wanted

    async def prepare(self, target: Target, turn: Turn) -> Sequence[Call]:
        """Return the requests; before the first round, send them for a second."""
        calls = await self.calls(target, turn.random)
        if turn.warms_up:
            await under_load(target, replace(turn, seconds=1), calls)
        return calls

    async def measure(self, target: Target, turn: Turn, prepared: Sequence[Call]) -> list[Sample]:
        """Send the requests for one turn."""
        return [(await under_load(target, turn, prepared)).sample]
