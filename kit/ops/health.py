"""Whether a process lives and whether it can work, asked over HTTP."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Literal

from faststream.asgi import AsgiResponse, get
from faststream.asgi.types import ASGIApp
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on

from kit.errors import CannotStart, HealthWarning

Check = Callable[[], Awaitable[None]]
"""Returns if the dependency works; raises `HealthWarning` if it works but needs attention; else it fails."""

_DEADLINE = 2.0


class CheckReport(TypedDict):
    """How one dependency is, and after how many milliseconds it said so; a warning is no failure."""

    status: Literal["ok", "warning", "failed"]
    milliseconds: float
    reason: str | None


class Report(TypedDict):
    """How a process is: ok when none of its dependencies failed."""

    status: Literal["ok", "failed"]
    checks: dict[str, CheckReport]


class Health:
    """The checks of one process; each gets two seconds, all at the same time.

    What one of `advice` raises is never more than a warning: the process can do its work.
    """

    def __init__(self, checks: Mapping[str, Check], advice: Mapping[str, Check] | None = None) -> None:
        self._checks = dict(checks)
        self._checks.update({name: partial(_advise, check) for name, check in (advice or {}).items()})

    async def report(self) -> Report:
        """Ask every dependency."""
        answers = await asyncio.gather(*(_ask(check) for check in self._checks.values()))
        checks = dict(zip(self._checks, answers, strict=True))
        healthy = all(answer["status"] != "failed" for answer in answers)
        return {"status": "ok" if healthy else "failed", "checks": checks}

    def routes(self) -> list[tuple[str, ASGIApp]]:
        """Return `/health`, `/health/ready` (200 or 503, an entry a dependency) and `/health/live` (200)."""

        @get(include_in_schema=False)
        async def ready(_: dict[str, Any]) -> AsgiResponse:
            report = await self.report()
            return _json(report, 200 if report["status"] == "ok" else 503)

        @get(include_in_schema=False)
        async def live(_: dict[str, Any]) -> AsgiResponse:
            return _json({"status": "ok", "checks": {}}, 200)

        return [("/health", ready), ("/health/ready", ready), ("/health/live", live)]


async def _advise(check: Check) -> None:
    try:
        async with asyncio.timeout(_DEADLINE / 2):
            await check()
    except HealthWarning:
        raise
    except CannotStart as found:
        raise HealthWarning(str(found)) from found
    except Exception as error:
        raise HealthWarning(f"This cannot be told now: {str(error) or type(error).__name__}") from error


async def _ask(check: Check) -> CheckReport:
    started = time.monotonic()
    status: Literal["ok", "warning", "failed"] = "ok"
    reason = None
    try:
        async with asyncio.timeout(_DEADLINE):
            await check()
    except HealthWarning as warning:
        status, reason = "warning", str(warning)
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its answer
        status, reason = "failed", str(error) or type(error).__name__
    milliseconds = round((time.monotonic() - started) * 1000, 1)
    return {"status": status, "milliseconds": milliseconds, "reason": reason}


def _json(body: Report, status: int) -> AsgiResponse:
    return AsgiResponse(json.dumps(body).encode(), status, {"content-type": "application/json"})
