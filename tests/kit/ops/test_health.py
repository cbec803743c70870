"""Health: what works, what does not and why, within a deadline."""

import asyncio
import time

import httpx
import pytest
from faststream.asgi import AsgiFastStream

from kit.errors import HealthWarning
from kit.messaging.broker import Broker
from kit.ops import health
from kit.ops.health import Health


async def works() -> None:
    return


async def fails() -> None:
    raise RuntimeError("stream X is missing")


async def fails_without_a_word() -> None:
    raise LookupError


async def hangs() -> None:
    await asyncio.sleep(60)


async def get(
    checks: dict[str, health.Check], path: str, advice: dict[str, health.Check] | None = None
) -> httpx.Response:
    routes = Health(checks, advice).routes()
    app = AsgiFastStream(Broker("nats://127.0.0.1:1", name="tests"), asgi_routes=routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as http:
        return await http.get(path)


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_it_is_ready_when_everything_works(path: str) -> None:
    answer = await get({"nats": works, "database": works}, path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    report = answer.json()
    assert report["status"] == "ok"
    assert {name: (check["status"], check["reason"]) for name, check in report["checks"].items()} == {
        "nats": ("ok", None),
        "database": ("ok", None),
    }
    assert all(0 <= check["milliseconds"] < 1000 for check in report["checks"].values())


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_it_says_what_is_missing_and_asks_all_at_the_same_time(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_DEADLINE", 0.2)
    started = time.monotonic()
    answer = await get({"a": works, "b": fails, "c": hangs, "d": hangs, "e": fails_without_a_word}, path)
    assert time.monotonic() - started < 1
    assert answer.status_code == 503
    report = answer.json()
    assert report["status"] == "failed"
    assert {name: check["reason"] for name, check in report["checks"].items()} == {
        "a": None,
        "b": "stream X is missing",
        "c": "TimeoutError",
        "d": "TimeoutError",
        "e": "LookupError",
    }


async def warns() -> None:
    raise HealthWarning("There are 2 dead letters.")


async def test_a_warning_and_an_advice_that_cannot_be_given_leave_it_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_DEADLINE", 0.4)
    answer = await get(
        {"a": works, "b": warns}, "/health/ready", advice={"c": works, "d": warns, "e": fails, "f": hangs}
    )
    assert answer.status_code == 200
    report = answer.json()
    assert report["status"] == "ok"
    assert {name: (check["status"], check["reason"]) for name, check in report["checks"].items()} == {
        "a": ("ok", None),
        "b": ("warning", "There are 2 dead letters."),
        "c": ("ok", None),
        "d": ("warning", "There are 2 dead letters."),
        "e": ("warning", "This cannot be told now: stream X is missing"),
        "f": ("warning", "This cannot be told now: TimeoutError"),
    }


async def test_a_process_lives_whatever_it_misses() -> None:
    answer = await get({"nats": fails}, "/health/live")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {}}
