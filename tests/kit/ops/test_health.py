"""Health checks over HTTP."""

import asyncio

import httpx
import pytest
from faststream.asgi import AsgiFastStream

from kit.errors import HealthWarning
from kit.messaging.broker import Broker
from kit.ops.health import CHECK_TIMEOUT, Check, Health


async def works() -> None:
    return


async def fails() -> None:
    raise RuntimeError("stream X is missing")


async def fails_without_a_message() -> None:
    raise LookupError


async def hangs() -> None:
    await asyncio.Event().wait()


async def warns() -> None:
    raise HealthWarning("There are 2 dead letters.")


async def get(
    checks: dict[str, Check],
    path: str,
    *,
    warnings: dict[str, Check] | None = None,
    timeout: float = CHECK_TIMEOUT,
) -> httpx.Response:
    routes = Health(checks, warnings, timeout=timeout).routes()
    app = AsgiFastStream(Broker("nats://127.0.0.1:1", name="tests"), asgi_routes=routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as http:
        return await http.get(path)


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_process_is_ready_when_every_check_passes(path: str) -> None:
    response = await get({"nats": works, "database": works}, path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    report = response.json()
    assert report["status"] == "ok"
    assert {name: (check["status"], check["reason"]) for name, check in report["checks"].items()} == {
        "nats": ("ok", None),
        "database": ("ok", None),
    }
    assert all(0 <= check["milliseconds"] < 1000 for check in report["checks"].values())


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_failed_check_makes_the_process_unready(path: str) -> None:
    checks: dict[str, Check] = {"a": works, "b": fails, "c": hangs, "d": fails_without_a_message}
    response = await get(checks, path, timeout=0.05)
    assert response.status_code == 503
    report = response.json()
    assert report["status"] == "failed"
    assert {name: check["reason"] for name, check in report["checks"].items()} == {
        "a": None,
        "b": "stream X is missing",
        "c": "TimeoutError",
        "d": "LookupError",
    }


async def test_checks_run_concurrently() -> None:
    meeting = asyncio.Barrier(3)

    async def meet() -> None:
        await meeting.wait()

    response = await get({"a": meet, "b": meet}, "/health/ready", warnings={"c": meet})
    assert response.status_code == 200


async def test_warnings_leave_the_process_ready() -> None:
    response = await get(
        {"a": works, "b": warns},
        "/health/ready",
        warnings={"c": works, "d": warns, "e": fails, "f": hangs},
        timeout=0.2,
    )
    assert response.status_code == 200
    report = response.json()
    assert report["status"] == "ok"
    assert {name: (check["status"], check["reason"]) for name, check in report["checks"].items()} == {
        "a": ("ok", None),
        "b": ("warning", "There are 2 dead letters."),
        "c": ("ok", None),
        "d": ("warning", "There are 2 dead letters."),
        "e": ("warning", "This check could not run: stream X is missing"),
        "f": ("warning", "This check could not run: TimeoutError"),
    }


async def test_liveness_does_not_depend_on_checks() -> None:
    response = await get({"nats": fails}, "/health/live")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "checks": {}}
