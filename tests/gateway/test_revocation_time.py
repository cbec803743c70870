"""The time from the answer that ended a session to the last request of it that a gateway accepts, under load."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from kit.runtime.tasks import cancel_and_wait
from tests.support.polling import eventually
from tests.support.real_store import Servers, on_real_servers
from tests.support.store import SignedInUser, client_of, running
from tests.support.users_harness import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMISED = 2.0
"""Seconds, in CONTRACT: every gateway refuses the tokens of an ended session after so long."""
LOOPS = 4
"""Requests at once of each session, at each gateway."""
ENOUGH = 100


@dataclass
class Seen:
    """What one gateway answered to one session."""

    accepted: list[float] = field(default_factory=list)
    """When each accepted request was sent."""
    refused: int = 0


@asynccontextmanager
async def load(http: httpx.AsyncClient, *sessions: SignedInUser) -> AsyncIterator[list[Seen]]:
    """Send requests of all sessions to one gateway, until the end of the block."""
    seen = [Seen() for _ in sessions]

    async def send(session: SignedInUser, answers: Seen) -> None:
        own = SignedInUser(http, session.user, session.token)
        while True:
            began = time.monotonic()
            status = (await own.get("/users/me")).status_code
            assert status in {200, 401}
            if status == httpx.codes.OK:
                answers.accepted.append(began)
            else:
                answers.refused += 1
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(send(*each)) for each in zip(sessions, seen, strict=True) for _ in range(LOOPS)]
    try:
        yield seen
        assert not any(task.done() for task in tasks)
    finally:
        await cancel_and_wait(tasks)


async def test_ended_session_is_refused_within_two_seconds(servers: Servers) -> None:
    """One gateway follows the revocation; the other starts right after it. No other session is refused."""
    async with on_real_servers(servers) as store:
        mine, bob = await store.sign_up(), await store.sign_up()
        login = {"email": mine.user["email"], "password": PASSWORD}
        begun = (await store.http.post("/auth/sessions", json=login)).json()
        sessions = (SignedInUser(store.http, mine.user, begun["accessToken"]), mine, bob)
        later = servers.gateway()
        async with load(store.http, *sessions) as at_first:
            await eventually(lambda: all(len(each.accepted) >= ENOUGH for each in at_first))
            assert (await mine.request("DELETE", f"/auth/sessions/{begun['id']}")).status_code == 204
            answered = time.monotonic()
            async with running(later), client_of(later) as http, load(http, *sessions) as at_second:
                before = [len(each.accepted) for each in at_first[1:]]

                def is_enough() -> bool:
                    served = [len(each.accepted) for each in at_first[1:]]
                    return (
                        min(at_first[0].refused, at_second[0].refused) >= ENOUGH
                        and all(now >= then + ENOUGH for now, then in zip(served, before, strict=True))
                        and all(len(each.accepted) >= ENOUGH for each in at_second[1:])
                    )

                await eventually(is_enough)
    last = max([*at_first[0].accepted, *at_second[0].accepted])
    assert last - answered <= PROMISED
    assert not at_second[0].accepted  # it knows the revocations before its first request
    assert [each.refused for each in (*at_first[1:], *at_second[1:])] == [0, 0, 0, 0]
