"""Runs wrk, which costs the machine a tenth of what it measures, and reads its result."""

import asyncio
import json
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mkstore.bench.load.calls import Call, request_file

SCRIPT = Path(__file__).with_name("load.lua")
_REQUEST_TIMEOUT = 10
_END_TIMEOUT = 30.0
_FAILURES = ("connect", "read", "write", "timeout", "status")


class WrkFailed(Exception):
    """wrk is missing, or it ended without a result."""


@dataclass(frozen=True)
class Load:
    """The result of one run; latencies are milliseconds by percentile, such as `p99`."""

    requests: int
    """Responses within the time, those in `failures` included."""
    seconds: float
    failures: Mapping[str, int]
    """Failed connects, reads and writes, timeouts, and responses with another status than 2xx or 3xx."""
    latency: Mapping[str, float]

    @property
    def succeeded(self) -> int:
        """The number of responses with a good status."""
        return self.requests - self.failures["status"]


def find() -> str:
    """Return the path of wrk. Raises `WrkFailed` if it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        raise WrkFailed("wrk is not installed; install it with `apt install wrk`")
    return program


async def run(
    url: str, calls: Sequence[Call], *, connections: int, seconds: int, seed: int = 1, delay: float = 0.0
) -> Load:
    """Send requests drawn at random from `calls` for `seconds`.

    With a `delay`, each connection waits that many milliseconds on average before each request. Raises `WrkFailed`.
    """
    with tempfile.TemporaryDirectory(prefix="mkstore-bench-") as folder:
        file = Path(folder) / "requests"
        file.write_bytes(request_file(calls, url))
        process = await asyncio.create_subprocess_exec(
            *(find(), "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
            *("--timeout", f"{_REQUEST_TIMEOUT}s", "--script", str(SCRIPT), url),
            *("--", str(file), secrets.token_hex(3)[:5], str(seed), str(round(delay))),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(seconds + _END_TIMEOUT):
                output, _ = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
    return parse(output.decode(errors="replace"))


def parse(output: str) -> Load:
    """Return the result in wrk's output, whose last line is that of load.lua. Raises `WrkFailed` if it has none."""
    try:
        figures = json.loads(output.strip().splitlines()[-1])
        return Load(
            requests=figures["requests"],
            seconds=figures["seconds"],
            failures={name: figures[name] for name in _FAILURES},
            latency={name: value for name, value in figures.items() if name.startswith("p")},
        )
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise WrkFailed(f"wrk ended without a result: {' '.join(output.split())[-300:] or 'no output'}") from error
