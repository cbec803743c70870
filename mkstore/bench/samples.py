"""What one run measured: plain figures, which the report is made from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sample:
    """The figures of one contender in one turn of a scenario."""

    round: int
    scenario: str
    contender: str
    concurrency: int
    """Connections of the load; 0 for a figure that has none."""
    variant: str = ""
    """What a scenario measures more than once, such as the first and the 1,000th page."""
    rate: float = 0.0
    """Successful requests per second."""
    requests: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    """Only those that are not 0; see `wrk.Load`."""
    wrong: tuple[str, ...] = ()
    """Responses, rows or events that were checked and are not right, one sentence each."""
    latency: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds by percentile."""
    processor: Mapping[str, float] = field(default_factory=dict)
    """Microseconds of processor time per request, by part."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Further figures by name, with the unit in the name."""


@dataclass(frozen=True)
class Result:
    """A whole run."""

    machine: Mapping[str, str]
    command: str
    rounds: int
    seconds: int
    samples: tuple[Sample, ...]

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_result(file: Path) -> Result:
    """Return the result that was written to `file`."""
    content: dict[str, Any] = json.loads(file.read_text())
    samples = tuple(Sample(**{**one, "wrong": tuple(one["wrong"])}) for one in content.pop("samples"))
    return Result(samples=samples, **content)
