"""The search for secrets in the logs of the whole suite finds them."""

import pytest

from tests.support.logged_secrets import logged_secrets


@pytest.mark.parametrize(
    "text",
    [
        "a long enough sentence",
        "reason=ada+1@example.com",
        "Authorization: Bearer abcdefghijklmnopqrstuv",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln",
        "nats://users:password@127.0.0.1:4222",
        "the-secret-of-this-store",
    ],
)
def test_secret_is_found(text: str) -> None:
    log = f"first line\nsecond {text} line"
    assert logged_secrets(log, ["the-secret-of-this-store", "short"]) == [f"second {text} line"]


def test_usual_lines_have_no_secret() -> None:
    assert not logged_secrets("GET /users/{user_id} short caller=1 server=nats://127.0.0.1:4222", ["short"])
