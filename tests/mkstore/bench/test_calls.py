"""A checked response: its status, and the fields of its body."""

import pytest

from mkstore.bench.load.calls import Call
from mkstore.chaos.http_client import Answer, Outcome

CALL = Call("GET", "/users/7", expected={"id": "7"})


def answer(status: int, body: bytes) -> Answer:
    return Answer(Outcome.DONE, status, "", body, {}, 0.0, 0.0)


def test_right_response_has_no_fault() -> None:
    assert not CALL.fault(answer(200, b'{"id":"7","name":"Ada"}'))


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b'{"id":"7"}', "404"),
        (200, b'{"id":"8"}', "wrong content {'id': '8'}"),
        (200, b"{}", "wrong content {'id': None}"),
        (200, b"Bad Gateway", "no JSON"),
        (200, b"[1]", "no JSON object"),
        (0, b"", "0"),
    ],
)
def test_wrong_response_is_described(status: int, body: bytes, reason: str) -> None:
    fault = CALL.fault(answer(status, body))
    assert fault.startswith("GET /users/7")
    assert reason in fault
