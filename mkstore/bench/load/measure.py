"""One turn under load: wrk, and beside it processor time and a sample of checked responses."""

import asyncio
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from mkstore.bench.load import wrk
from mkstore.bench.load.calls import Call
from mkstore.bench.load.processor import processor_times
from mkstore.bench.load.target import Target
from mkstore.bench.samples import Sample
from mkstore.chaos.http_client import Api

_CHECKS = 10
"""Checked responses of a turn."""
LOAD = "load"
"""The part that is wrk itself."""


@dataclass(frozen=True)
class Turn:
    """One turn of a contender."""

    round: int
    scenario: str
    concurrency: int
    seconds: int
    warms_up: bool = False
    """Whether the contender has not had this load before."""

    @property
    def random(self) -> Random:
        """Random numbers, the same for all contenders."""
        return Random(f"{self.round} {self.scenario} {self.concurrency}")  # noqa: S311 - a load, no secret


@dataclass(frozen=True)
class Measured:
    """A sample, and the number of requests: those of wrk, and the good ones among those that were checked."""

    sample: Sample
    requests: int


async def under_load(
    target: Target, turn: Turn, calls: Sequence[Call], *, variant: str = "", delay: float = 0.0
) -> Measured:
    """Run wrk for one turn, check some responses meanwhile, and return the sample.

    `delay` is that of `wrk.run`. Raises `WrkFailed` if wrk gives no result.
    """
    before, load_before = processor_times(target.parts()), _load_seconds()
    checking = asyncio.create_task(_check(target.url, calls, turn))
    load = await wrk.run(
        target.url,
        calls,
        connections=turn.concurrency,
        seconds=turn.seconds,
        seed=turn.random.randrange(1 << 30),
        delay=delay,
    )
    checked, wrong = await checking
    requests = load.requests + checked
    processor = per_request(before, processor_times(target.parts()), requests)
    processor |= per_request({LOAD: load_before}, {LOAD: _load_seconds()}, load.requests)
    sample = Sample(
        round=turn.round,
        scenario=turn.scenario,
        contender=target.name,
        concurrency=turn.concurrency,
        variant=variant,
        rate=round(load.succeeded / load.seconds, 1),
        requests=load.requests,
        failures={name: number for name, number in load.failures.items() if number},
        wrong=tuple(wrong),
        latency=load.latency,
        processor=processor,
    )
    return Measured(sample, requests)


def per_request(before: Mapping[str, float], after: Mapping[str, float], requests: int) -> dict[str, float]:
    """Return microseconds per request and part from the seconds before and after a number of requests."""
    return {part: round((after[part] - used) * 1e6 / max(1, requests), 1) for part, used in before.items()}


async def _check(url: str, calls: Sequence[Call], turn: Turn) -> tuple[int, list[str]]:
    """Send some of the calls in the course of a turn; return the number of good responses, and what is wrong."""
    wrong = []
    async with Api(url) as api:
        for call in turn.random.choices(calls, k=_CHECKS):
            await asyncio.sleep(turn.seconds / (_CHECKS + 2))
            if fault := call.fault(await call.send(api)):
                wrong.append(fault)
    return _CHECKS - len(wrong), wrong


def _load_seconds() -> float:
    # The parts of a contender do not end during a turn, so that what ends is wrk.
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
