"""Lines of the log carry the ids of the request that they belong to."""

import json
import logging
from collections.abc import Callable

import pytest
from structlog.stdlib import get_logger

from kit.runtime.logging import LogFormat
from kit.runtime.tracing import Trace, trace

Log = Callable[[LogFormat, str], None]


@pytest.mark.parametrize("name", ["ours", "library"])
def test_line_has_the_ids_of_its_request_and_trace(
    configured: Log, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    configured("json", "INFO")
    current = trace.set(Trace("a-request", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    (get_logger(name) if name == "ours" else logging.getLogger(name)).warning("something")
    trace.reset(current)
    line = json.loads(capsys.readouterr().err)
    assert (line["request_id"], line["trace_id"]) == ("a-request", "0af7651916cd43dd8448eb211c80319c")


def test_line_outside_of_a_request_has_no_ids(configured: Log, capsys: pytest.CaptureFixture[str]) -> None:
    configured("json", "INFO")
    get_logger("ours").warning("something")
    assert not {"request_id", "trace_id"} & json.loads(capsys.readouterr().err).keys()
