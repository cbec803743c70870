"""Registration of payers on a store that is busy."""

import json
from typing import Any

import pytest

from mkstore.chaos.http_client import Answer, Api, Outcome
from mkstore.chaos.ledger import Change
from mkstore.chaos.load import RegistrationFailed, register_payers

CREATED = {"id": "u1"}
SIGNED_IN = {"accessToken": "t1"}


def done(status: int, body: dict[str, str]) -> Answer:
    return Answer(Outcome.DONE, status, "", json.dumps(body).encode(), {}, 0.0, 0.0)


def refused(status: int, code: str, outcome: Outcome = Outcome.REFUSED) -> Answer:
    return Answer(outcome, status, code, b"{}", {"retry-after": "0"}, 0.0, 0.0)


class FakeApi(Api):
    """Returns prepared answers, and records the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[tuple[str, str]] = []
        self._answers = iter(answers)

    async def __call__(self, method: str, path: str, **_: Any) -> Answer:
        self.requests.append((method, path))
        return next(self._answers)


SIGN_UP, SIGN_IN, READ = ("POST", "/users"), ("POST", "/auth/sessions"), ("GET", "/users/me")


async def test_refusals_that_pass_are_retried() -> None:
    api = FakeApi(
        refused(503, "too-many-passwords"),
        refused(429, "too-many-requests"),
        done(201, CREATED),
        refused(504, "outcome-unknown", Outcome.UNKNOWN),
        done(200, SIGNED_IN),
    )
    (payer,) = await register_payers(api, 1)
    assert (payer.id, payer.token, payer.changes) == ("u1", "t1", [Change("created", version=1)])
    assert api.requests == [SIGN_UP] * 3 + [SIGN_IN] * 2


async def test_sign_up_without_a_response_is_completed() -> None:
    api = FakeApi(
        refused(504, "outcome-unknown", Outcome.UNKNOWN),
        refused(409, "email-taken"),
        done(200, SIGNED_IN),
        done(200, CREATED),
    )
    (payer,) = await register_payers(api, 1)
    assert payer.id == "u1"
    assert api.requests == [SIGN_UP, SIGN_UP, SIGN_IN, READ]


async def test_final_refusal_is_named() -> None:
    with pytest.raises(RegistrationFailed, match="422 invalid-request"):
        await register_payers(FakeApi(refused(422, "invalid-request")), 1)
    with pytest.raises(RegistrationFailed, match="409 email-taken"):
        await register_payers(FakeApi(refused(409, "email-taken")), 1)


async def test_retries_end_at_the_deadline() -> None:
    with pytest.raises(RegistrationFailed, match="503 service-unavailable"):
        await register_payers(FakeApi(*[refused(503, "service-unavailable")] * 9), 1, timeout=-1)
