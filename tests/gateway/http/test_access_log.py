"""The access log: one line per request."""

import json
import re
from contextlib import nullcontext
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.responses import PlainTextResponse

from apps.gateway.http.access_log import Access, AccessLog
from apps.gateway.settings import Settings
from kit.runtime.logging import LogFormat
from tests.support.memory_store import in_memory
from tests.support.middleware import middleware
from tests.support.polling import eventually
from tests.support.recorded_spans import context, recorded_spans
from tests.support.store import client_of

ADA = uuid4()
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Log(AccessLog):
    """A log that keeps what it writes."""

    def __init__(self, style: LogFormat = "json", interval: float = 3600.0) -> None:
        self.writes: list[str] = []
        super().__init__(style, self.writes.append, interval=interval)

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for text in self.writes for line in text.splitlines()]


def access(**different: Any) -> Access:
    usual: dict[str, Any] = {"ended_at": 1790000000.25, "seconds": 0.00123, "method": "GET", "path": "/users/{user_id}"}
    return Access(**(usual | {"status": 200, "request_id": "abc", "trace_id": TRACE, "caller": ADA} | different))


async def test_lines_are_json_or_text_like_other_log_lines() -> None:
    as_json, as_text = Log("json"), Log("console")
    for log in (as_json, as_text):
        log.add(access())
        log.close()
    assert as_json.entries() == [
        {
            "timestamp": "2026-09-21T14:13:20.250000Z",
            "level": "info",
            "logger": "apps.gateway.http.access_log",
            "event": "request",
            "request_id": "abc",
            "trace_id": TRACE,
            "method": "GET",
            "path": "/users/{user_id}",
            "status": 200,
            "duration_ms": 1.2,
            "caller": str(ADA),
        }
    ]
    assert re.fullmatch(
        rf"2026-09-21T14:13:20.250000Z \[info     \] request +\[apps\.gateway\.http\.access_log\] caller={ADA} "
        rf"duration_ms=1\.2 method=GET path=/users/\{{user_id\}} request_id=abc status=200 trace_id={TRACE}\n",
        as_text.writes[0],
    )


@pytest.mark.parametrize("path", ["/a\nb", '/"', "/a b", "/\u2028", "/\ud800", "/ä"])
async def test_path_cannot_forge_a_line(path: str) -> None:
    as_json, as_text = Log("json"), Log("console")
    for log in (as_json, as_text):
        log.add(access(path=path))
        log.close()
    assert as_json.entries()[0]["path"] == path
    assert len(as_text.writes[0].splitlines()) == 1
    assert " b" not in as_text.writes[0].partition("path=")[2] or '"/a b"' in as_text.writes[0]


async def test_lines_are_written_together_and_soon() -> None:
    log = Log(interval=0.05)
    for _ in range(3):
        log.add(access())
    assert log.writes == []
    await eventually(lambda: log.writes)
    assert (len(log.writes), len(log.entries())) == (1, 3)
    log.add(access())
    await eventually(lambda: len(log.writes) == 2)


async def test_full_buffer_is_written_at_once() -> None:
    log = Log()
    for _ in range(2500):
        log.add(access())
    assert len(log.entries()) == 2000


async def test_close_writes_what_is_left_once() -> None:
    log = Log()
    log.add(access(caller=None))
    log.close()
    log.close()
    assert [entry.get("caller", "none") for entry in log.entries()] == ["none"]


async def test_each_request_has_a_line_without_its_query() -> None:
    async with in_memory() as store:
        log = Log()
        ada = await store.sign_up()
        async with client_of(middleware(store.app.api, access_log=log)) as http:
            headers = {"Authorization": f"Bearer {ada.token}", "X-Request-Id": "abc"}
            await http.get(f"/users/{ada.id}", headers=headers)
            await http.get("/payments?limit=1", headers=headers)
            await http.get("/nothing?secret=1", headers=headers)
            await http.get("/users/me")
        log.close()
    assert [(e["method"], e["path"], e["status"], e.get("caller")) for e in log.entries()] == [
        ("GET", "/users/{user_id}", 200, ada.id),
        ("GET", "/payments", 200, ada.id),
        ("GET", "/nothing", 404, None),
        ("GET", "/users/me", 401, None),
    ]
    assert [entry["request_id"] == "abc" for entry in log.entries()] == [True, True, True, False]


@pytest.mark.parametrize("is_recorded", [False, True])
async def test_line_names_the_trace_of_the_request(is_recorded: bool) -> None:
    log = Log()
    with recorded_spans() if is_recorded else nullcontext() as spans:
        async with client_of(middleware(PlainTextResponse("hello"), access_log=log)) as http:
            await http.get("/")
            await http.get("/", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
        log.close()
        new, given = (entry["trace_id"] for entry in log.entries())
        if spans is not None:
            assert [f"{context(span).trace_id:032x}" for span in spans.all()] == [new, given]
    assert re.fullmatch("[0-9a-f]{32}", new)
    assert given == TRACE


async def test_request_that_fails_has_a_line() -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    log = Log()
    with pytest.raises(RuntimeError):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(middleware(fail, access_log=log))) as http:
            await http.get("http://store/")
    log.close()
    assert [(entry["path"], entry["status"]) for entry in log.entries()] == [("/", 500)]


async def test_stop_of_the_gateway_writes_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    async with in_memory() as store:
        assert (await store.http.get("/health/live")).status_code == 200
    assert "path=/health/live" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "logged"),
    [({}, True), ({"access_log": False}, False), ({"log_level": "WARNING"}, False), ({"log_level": "DEBUG"}, True)],
)
def test_access_log_follows_its_setting_and_the_level(options: dict[str, Any], *, logged: bool) -> None:
    assert Settings(**options).logs_requests is logged
