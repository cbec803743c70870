"""Health checks of a process, served over HTTP."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from faststream.asgi import AsgiResponse, get
from faststream.asgi.types import ASGIApp
from typing_extensions import TypedDict  # pydantic accepts the one in `typing` only from Python 3.12 on

from kit.errors import CannotStart, HealthWarning

Check = Callable[[], Awaitable[str | None]]
"""Returns if the dependency works, with a note if there is something to say about it.

Raises `HealthWarning` if it works but needs attention; any other error fails."""

CHECK_TIMEOUT = 2.0
Status = Literal["ok", "warning", "failed"]


class CheckReport(TypedDict):
    """Result of one check, and how long it took; a warning is not a failure, nor is `ok` with a note as its reason."""

    status: Status
    milliseconds: float
    reason: str | None


class Report(TypedDict):
    """Health of a process: ok if no check failed."""

    status: Literal["ok", "failed"]
    checks: dict[str, CheckReport]


class Health:
    """The health checks of one process, run concurrently, each with a timeout in seconds.

    A check in `warnings` never makes the process unready: any error of it is reported as a warning. Its timeout is half
    as long, so that it is reported before the check itself times out.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        warnings: Mapping[str, Check] | None = None,
        *,
        timeout: float = CHECK_TIMEOUT,
    ) -> None:
        self._timeout = timeout
        self._is_stopping = False
        self._checks = dict(checks)
        self._checks.update({name: self._only_warning(check) for name, check in (warnings or {}).items()})

    def stop(self) -> None:
        """Be not ready from now on: the process stops."""
        self._is_stopping = True

    async def report(self) -> Report:
        """Run every check; of a process that stops, report only that."""
        if self._is_stopping:
            reason = "This process is stopping."
            return {"status": "failed", "checks": {"process": _result("failed", 0.0, reason)}}
        reports = await asyncio.gather(*(self._run(check) for check in self._checks.values()))
        checks = dict(zip(self._checks, reports, strict=True))
        healthy = all(report["status"] != "failed" for report in reports)
        return {"status": "ok" if healthy else "failed", "checks": checks}

    def routes(self) -> list[tuple[str, ASGIApp]]:
        """Return `/health` and `/health/ready` (200 or 503, with every check) and `/health/live` (200)."""

        @get(include_in_schema=False)
        async def ready(_: dict[str, Any]) -> AsgiResponse:
            report = await self.report()
            return _json(report, 200 if report["status"] == "ok" else 503)

        @get(include_in_schema=False)
        async def live(_: dict[str, Any]) -> AsgiResponse:
            return _json({"status": "ok", "checks": {}}, 200)

        return [("/health", ready), ("/health/ready", ready), ("/health/live", live)]

    def _only_warning(self, check: Check) -> Check:
        async def warn() -> str | None:
            try:
                async with asyncio.timeout(self._timeout / 2):
                    return await check()
            except HealthWarning:
                raise
            except CannotStart as error:
                raise HealthWarning(str(error)) from error
            except Exception as error:
                raise HealthWarning(f"This check could not run: {str(error) or type(error).__name__}") from error

        return warn

    async def _run(self, check: Check) -> CheckReport:
        started = time.monotonic()
        status: Status = "ok"
        reason: str | None = None
        try:
            async with asyncio.timeout(self._timeout):
                reason = await check()
        except HealthWarning as warning:
            status, reason = "warning", str(warning)
        except Exception as error:  # noqa: BLE001 - any error of a check is its result
            status, reason = "failed", str(error) or type(error).__name__
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        return _result(status, milliseconds, reason)


def _result(status: Status, milliseconds: float, reason: str | None) -> CheckReport:
    return {"status": status, "milliseconds": milliseconds, "reason": reason}


def _json(body: Report, status: int) -> AsgiResponse:
    return AsgiResponse(json.dumps(body).encode(), status, {"content-type": "application/json"})
