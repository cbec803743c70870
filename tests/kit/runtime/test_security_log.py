"""The security log: its events, its fields, and what never gets in."""

import inspect
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from kit.runtime.logging import LogFormat
from kit.runtime.security_log import SECURITY_EVENTS, SecurityEvent, security_event
from kit.runtime.tracing import Trace, trace

USER, SESSION = uuid4(), uuid4()
SHARED = {"timestamp", "level", "logger", "event", "request_id"}

Log = Callable[[LogFormat, str], None]


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("name", SECURITY_EVENTS)
def test_each_event_is_a_line_with_the_allowed_fields(
    configured: Log, capsys: pytest.CaptureFixture[str], name: SecurityEvent
) -> None:
    configured("json", "INFO")
    before = trace.set(Trace("a-request"))
    security_event(name, user=USER, session=SESSION, address="2001:DB8::1")
    trace.reset(before)
    (line,) = written(capsys)
    assert {field: value for field, value in line.items() if field not in SHARED} == {
        "security": name,
        "user": str(USER),
        "session": str(SESSION),
        "address": "2001:db8::1",
    }
    assert (line["event"], line["request_id"]) == ("security event", "a-request")
    assert line["timestamp"].endswith("Z")


def test_line_for_people_has_the_same_fields(configured: Log, capsys: pytest.CaptureFixture[str]) -> None:
    configured("console", "INFO")
    security_event("throttled", user=USER, address="192.0.2.1")
    (line,) = capsys.readouterr().err.splitlines()
    assert f"address=192.0.2.1 security=throttled user={USER}" in line


def test_what_is_not_known_is_left_out(configured: Log, capsys: pytest.CaptureFixture[str]) -> None:
    configured("json", "INFO")
    security_event("sign-in-refused")
    assert not {"user", "session", "address"} & set(written(capsys)[0])


def test_level_of_the_log_hides_no_event(configured: Log, capsys: pytest.CaptureFixture[str]) -> None:
    configured("json", "ERROR")
    for name in SECURITY_EVENTS:
        security_event(name)
    assert [line["security"] for line in written(capsys)] == list(SECURITY_EVENTS)


def test_no_field_can_hold_an_email_a_password_or_a_token() -> None:
    fields = inspect.signature(security_event).parameters
    assert set(fields) == {"name", "user", "session", "address"}
    secret: Any = "ada@example.com"
    for field in ("user", "session"):
        with pytest.raises(TypeError):
            security_event("sign-in", **{field: secret})
    with pytest.raises(ValueError, match="no such"):
        security_event(secret)


@pytest.mark.parametrize("address", ["ada@example.com", "a\nb", "eyJhbGciOiJFUzI1NiJ9.e30.x", "10.0.0.1, 10.0.0.2"])
def test_address_that_is_none_is_unknown(configured: Log, capsys: pytest.CaptureFixture[str], address: str) -> None:
    configured("json", "INFO")
    security_event("sign-in", address=address)
    assert written(capsys)[0]["address"] == "unknown"
