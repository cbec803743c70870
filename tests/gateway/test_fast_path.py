"""The fast path answers as FastAPI does, byte for byte.

More generated requests: `uv run pytest tests/gateway/test_fast_path.py --examples 20000`. What it cannot catch: a
difference that depends on the server (the HTTP parser, `Connection`), or on the order of concurrent requests.
"""

import asyncio
import json
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.users import Role
from kit.errors import OutcomeUnknown, Unavailable
from tests.support.generated_traffic import PARENT, requests, single_oddities
from tests.support.revoked import user_revoked
from tests.support.two_paths import (
    ADA,
    ADAS_PAYMENT,
    ADDRESS_LIMIT,
    BOB,
    CALLER_LIMIT,
    OUTAGES,
    ROOT,
    Answer,
    HttpRequest,
    Outage,
    Path,
    tokens,
)

TOKENS = tokens()
OUTAGE_NAMES = [*["none"] * 15, *OUTAGES]


def get(path: str, *more: tuple[bytes, bytes], caller: str = "ada") -> HttpRequest:
    host = (b"host", b"store")
    return HttpRequest("GET", path, headers=(host, (b"authorization", f"Bearer {TOKENS[caller]}".encode()), *more))


def post(*more: tuple[bytes, bytes], body: object = None, caller: str = "ada") -> HttpRequest:
    content = json.dumps({"amount": 1999, "metadata": {"order": "A-1"}} if body is None else body).encode()
    described = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(content)))
    return replace(get("/payments", *described, *more, caller=caller), method="POST", parts=(content,))


PLAIN = {
    "own user": get("/users/me"),
    "user": get(f"/users/{ADA}"),
    "user of an admin": get(f"/users/{ADA}", caller="root"),
    "payment": get(f"/payments/{ADAS_PAYMENT}"),
    "payment of an admin": get(f"/payments/{ADAS_PAYMENT}", (b"accept", b"*/*"), caller="root"),
    "new payment": post((b"user-agent", b"curl/8.5.0")),
    "new payment with a key": post((b"idempotency-key", b"key 0")),
    "new payment for another": post(body={"amount": 1, "userId": str(ADA)}, caller="root"),
}


class Both:
    """Sends each request on both paths."""

    def __init__(self) -> None:
        self.fast, self.full = Path(fast=True), Path(fast=False)

    async def send(self, request: HttpRequest) -> Answer:
        """Return the answer of the fast path, after comparing it with that of FastAPI."""
        answer, expected = await self.fast.send(request), await self.full.send(request)
        assert answer.comparable() == expected.comparable()
        assert self.fast.published() == self.full.published()
        return answer

    async def send_all(self, traffic: list[HttpRequest], outage: str = "none") -> None:
        for path in (self.fast, self.full):
            path.next_minute(OUTAGES[outage])
        for request in traffic:
            await self.send(request)

    async def know_tokens(self) -> None:
        """Verify the tokens once: the fast path takes only known ones."""
        for name in TOKENS:
            await self.send_all([get("/users/me", caller=name)])
        self.fast.through_fastapi = self.full.through_fastapi = 0


@pytest.fixture
async def both() -> Both:
    paths = Both()
    await paths.know_tokens()
    return paths


@pytest.mark.parametrize("name", PLAIN)
async def test_each_single_oddity_gets_an_equal_answer(both: Both, name: str) -> None:
    for number, request in enumerate(single_oddities(PLAIN[name], TOKENS)):
        await both.send_all([_with_own_key(request, b"%d " % number)])


@pytest.mark.timeout(7200)
def test_generated_requests_get_equal_answers(request: pytest.FixtureRequest) -> None:
    examples = request.config.getoption("--examples")
    numbers = iter(range(10**9))
    with asyncio.Runner() as runner:
        both = Both()
        runner.run(both.know_tokens())

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(traffic=st.lists(requests(TOKENS), min_size=1, max_size=6), outage=st.sampled_from(OUTAGE_NAMES))
        def compare(traffic: list[HttpRequest], outage: str) -> None:
            number = b"%d" % next(numbers)  # keys of an earlier example are used up
            runner.run(both.send_all([_with_own_key(each, number) for each in traffic], outage))

        compare()
    # Else the comparison would prove nothing.
    assert 0.2 < 1 - both.fast.through_fastapi / both.full.through_fastapi < 0.9


def _with_own_key(request: HttpRequest, number: bytes) -> HttpRequest:
    headers = ((name, number + value if value[:3] == b"key" else value) for name, value in request.headers)
    return replace(request, headers=tuple(headers))


@pytest.mark.parametrize("name", PLAIN)
async def test_plain_request_does_not_reach_fastapi(both: Both, name: str) -> None:
    answer = await both.send(PLAIN[name])
    assert answer.status == (202 if PLAIN[name].method == "POST" else 200)
    assert (both.fast.through_fastapi, both.full.through_fastapi) == (0, 1)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(
    "header",
    [
        *((b"if-none-match", b'"1"'), (b"prefer", b"wait=1"), (b"range", b"bytes=0-1"), (b"expect", b"100-continue")),
        *((b"transfer-encoding", b"chunked"), (b"x-new", b"1"), (b"authorization", b"again"), (b"if-match", b"*")),
    ],
)
async def test_unknown_or_repeated_header_reaches_fastapi(both: Both, name: str, header: tuple[bytes, bytes]) -> None:
    await both.send(replace(PLAIN[name], headers=(*PLAIN[name].headers, header)))
    assert both.fast.through_fastapi == 1


@pytest.mark.parametrize("token", ["revoked", "expired", "stranger", "forged", "garbage"])
async def test_refused_token_reaches_fastapi(both: Both, token: str) -> None:
    for request in (get("/users/me", caller=token), post(caller=token)):
        assert (await both.send(request)).status == 401
    assert both.fast.through_fastapi == 2


async def test_unverified_token_reaches_fastapi_once() -> None:
    path = Path(fast=True)
    for _ in range(3):
        assert (await path.send(get("/users/me"))).status == 200
    assert path.through_fastapi == 1


async def test_user_that_is_revoked_meanwhile_is_refused(both: Both) -> None:
    for path in (both.fast, both.full):
        path.deps.revocations.apply(user_revoked(ADA, sessions_after=UUID(int=(1 << 128) - 1)))
    assert (await both.send(get("/users/me"))).status == 401


async def test_present_role_counts_on_both_paths(both: Both) -> None:
    for path in (both.fast, both.full):
        path.deps.revocations.apply(user_revoked(ROOT, role=Role.USER))
        path.deps.revocations.apply(user_revoked(BOB, role=Role.ADMIN))
    assert (await both.send(get(f"/users/{ADA}", caller="root"))).status == 404
    assert (await both.send(get(f"/users/{ADA}", caller="bob"))).status == 200
    assert both.fast.through_fastapi == 0


async def test_no_token_counts_with_keys_that_are_too_old(both: Both) -> None:
    for path in (both.fast, both.full):
        path.clock.now += 301
    for request in (get("/users/me"), post()):
        assert (await both.send(request)).status == 503


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422), ([], 422), ({"amount": 0}, 422), ({"amount": 1, "extra": 1}, 422), ({"amount": 1.0}, 422),
        ({"amount": 1, "user_id": str(ADA)}, 422), ({"amount": 1, "metadata": {"a": "x" * 20_000}}, 422),
    ],
)  # fmt: skip
async def test_invalid_body_reaches_fastapi(both: Both, body: object, status: int) -> None:
    assert (await both.send(post(body=body))).status == status
    assert both.fast.through_fastapi == 1


async def test_body_in_parts_is_put_together(both: Both) -> None:
    """The middleware reads a whole body before either path."""
    request = post()
    (body,) = request.parts
    assert (await both.send(replace(request, parts=(body[:5], body[5:9], body[9:])))).status == 202
    assert both.fast.through_fastapi == 0


async def test_refusals_after_the_limits_are_counted_once(both: Both) -> None:
    """A missing user or payment is known only after the request was counted."""
    for left in reversed(range(CALLER_LIMIT)):
        assert (await both.send(get(f"/users/{ADA}"))).headers[b"ratelimit"][0].startswith(b'"caller";r=%d;' % left)
    assert (await both.send(get(f"/users/{ADA}"))).status == 429
    await both.send_all([get(f"/payments/{ADA}"), get("/users/me", caller="unknown")])
    for left in reversed(range(CALLER_LIMIT - 1)):
        assert (await both.send(get(f"/users/{ADA}"))).headers[b"ratelimit"][0].startswith(b'"caller";r=%d;' % left)
    assert both.fast.through_fastapi == 0


async def test_address_limit_refuses_before_the_caller_limit(both: Both) -> None:
    for token in ("ada", "bob") * 3:
        answer = await both.send(get("/users/me", caller=token))
    assert (answer.status, ADDRESS_LIMIT) == (429, 5)
    assert answer.headers[b"ratelimit-policy"] == [b'"address";q=5;w=60']


@pytest.mark.parametrize("refusal", [OutcomeUnknown("message broker"), Unavailable("payment queue")])
@pytest.mark.parametrize("name", ["new payment", "new payment with a key"])
async def test_failed_publish_is_not_repeated(both: Both, name: str, refusal: Unavailable | OutcomeUnknown) -> None:
    attempts = both.fast.count_publishes()
    for path in (both.fast, both.full):
        path.next_minute(Outage(queue=refusal))
    answer = await both.send(PLAIN[name])
    assert (answer.status, json.loads(answer.body)["code"]) in {(504, "outcome-unknown"), (503, "service-unavailable")}
    assert (len(attempts), both.fast.through_fastapi) == (1, 0)


async def test_crash_after_the_publish_is_not_repeated(both: Both) -> None:
    attempts = both.fast.count_publishes(RuntimeError("a secret"))
    answer = await both.fast.send(post())
    assert (answer.status, answer.error) == (500, "RuntimeError('a secret')")
    assert b"secret" not in answer.body
    assert (len(attempts), both.fast.through_fastapi) == (1, 0)


async def test_key_is_shared_by_both_paths(both: Both) -> None:
    first = await both.fast.send(post((b"idempotency-key", b"k")))
    again = await both.fast.send(post((b"idempotency-key", b"k"), (b"prefer", b"x")))
    assert both.fast.through_fastapi == 1
    assert (first.body, again.headers[b"idempotent-replayed"]) == (again.body, [b"true"])
    other = await both.fast.send(post((b"idempotency-key", b"k"), body={"amount": 2}))
    assert (other.status, json.loads(other.body)["code"]) == (422, "idempotency-key-reused")


async def test_command_carries_id_and_trace_of_the_request(both: Both) -> None:
    await both.send(post((b"x-request-id", b"given"), (b"traceparent", PARENT)))
    ((_, origin),) = both.fast.queue.pending.values()
    assert tuple(origin) == ("given", PARENT.decode())
    assert both.fast.through_fastapi == 0
