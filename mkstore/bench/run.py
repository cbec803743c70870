"""Runs the scenarios on all contenders, in turns, round after round."""

import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mkstore.bench.contenders.registry import Contender
from mkstore.bench.load.measure import Turn
from mkstore.bench.load.target import Target
from mkstore.bench.machine import machine
from mkstore.bench.samples import Result, Sample
from mkstore.bench.scenarios.registry import IDLE
from mkstore.bench.scenarios.scenario import Scenario

USERS = 1000


@dataclass(frozen=True)
class Plan:
    """What is measured; each turn takes `seconds`."""

    contenders: Sequence[Contender]
    scenarios: Sequence[Scenario]
    concurrencies: Sequence[int]
    rounds: int
    seconds: int
    users: int = USERS
    warm_up: bool = True


Running = Sequence[tuple[Contender, Target]]
"""Contenders, each with what it is while it runs."""


async def run(plan: Plan, say: Callable[[str], None], command: str) -> Result:
    """Start the contenders, measure, and return the result; `say` prints the progress.

    Raises the errors of `mkstore.bench.failures`.
    """
    _raise_file_limit()
    contenders = [one for one in plan.contenders if any(one.takes_part(scenario.name) for scenario in plan.scenarios)]
    async with AsyncExitStack() as stack:
        root = stack.enter_context(_folder())
        running: list[tuple[Contender, Target]] = []
        samples: list[Sample] = []
        for contender in contenders:
            say(f"starting {contender.name}: {contender.description}")
            folder = root / contender.name
            folder.mkdir(mode=0o711)
            target = await stack.enter_async_context(contender.running(folder, plan.users))
            running.append((contender, target))
            # Before the next one starts: pages that two contenders share would count half for each.
            for scenario in plan.scenarios:
                if scenario.name == IDLE and contender.takes_part(IDLE):
                    samples += await _scenario(plan, scenario, [target], 0, say)
        samples += await measure(plan, running, say)
    return Result(machine(), command, plan.rounds, plan.seconds, tuple(samples))


async def measure(plan: Plan, running: Running, say: Callable[[str], None]) -> list[Sample]:
    """Measure contenders that run, round after round."""
    samples: list[Sample] = []
    for number in range(1, plan.rounds + 1):
        for _, target in running:
            target.users, target.admins = await target.renew(target.users), await target.renew(target.admins)
        for scenario in plan.scenarios:
            taking_part = [target for contender, target in running if contender.takes_part(scenario.name)]
            if taking_part:
                samples += await _scenario(plan, scenario, taking_part, number, say)
    return samples


async def _scenario(
    plan: Plan, scenario: Scenario, targets: Sequence[Target], number: int, say: Callable[[str], None]
) -> list[Sample]:
    """Measure one scenario for one round: at each concurrency, the contenders one after the other."""
    samples: list[Sample] = []
    concurrencies = scenario.concurrencies(plan.concurrencies)
    turn = Turn(number, scenario.name, max(concurrencies), plan.seconds, warms_up=plan.warm_up and number == 1)
    prepared = {target.name: await scenario.prepare(target, turn) for target in targets}
    for concurrency in concurrencies:
        for target in targets:
            began = time.monotonic()
            done = await scenario.measure(target, replace(turn, concurrency=concurrency), prepared[target.name])
            samples += done
            for sample in done:
                say(f"round {number}/{plan.rounds}  {sentence(sample)}  ({time.monotonic() - began:.0f} s)")
    return samples


def sentence(sample: Sample) -> str:
    """Return a sample in one line."""
    load = f" c={sample.concurrency}" if sample.concurrency else ""
    name = f"{sample.scenario}{load} {sample.contender}" + (f" ({sample.variant})" if sample.variant else "")
    figures = [f"{sample.rate:,.0f}/s"] if sample.rate else []
    if sample.processor:
        figures.append(" ".join(f"{part} {used:.0f}" for part, used in sample.processor.items()) + " µs")
    figures += [f"{figure}: {value:g}" for figure, value in sample.figures.items()]
    figures += [f"{number} {kind} FAILURES" for kind, number in sample.failures.items()]
    return f"{name}: {', '.join(figures)}" + "".join(f"\n    WRONG: {one}" for one in sample.wrong)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mkstore-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL may run as another user, which must be able to traverse it
        yield folder


def _raise_file_limit() -> None:
    """Allow as many open files as the system does: a thousand event streams need more than the usual 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
