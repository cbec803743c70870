"""A rotation of signing keys under load: no token is refused at any time."""

import asyncio
import base64
import json
from collections import Counter
from typing import Any

import nats
from nats.js.errors import NotFoundError

from contracts.keys import KeyRotated
from contracts.streams import USER_EVENTS
from tests.support.golden import check_golden
from tests.support.http_client import calling, operator
from tests.support.polling import eventually
from tests.support.running_store import Running, running
from tests.support.users_harness import PASSWORD, new_email
from tests.support.wire_tap import Documents, WireMessage

RATE = 200
"""Requests per second."""
REQUESTS_PER_REFRESH = 20


def kid_of(token: str) -> str:
    header = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


async def test_no_token_is_refused_while_keys_rotate_under_load() -> None:
    """A client reads 200 times per second, refreshes 10 times per second, and uses each token that it has got."""
    settings = {"RATE_LIMIT_ENABLED": "false", "KEY_CACHE_SECONDS": "2"}
    with running("--ephemeral", "--port", "0", "--workers", "1", env=settings) as store:
        async with calling(store) as http, asyncio.TaskGroup() as tasks:
            login = {"email": new_email(), "password": PASSWORD}
            assert (await http.post("/users", json=login)).status_code == 201
            issued: dict[str, Any] = (await http.post("/auth/sessions", json=login)).json()
            tokens, statuses = [issued["accessToken"]], Counter[int]()
            turn = asyncio.Lock()

            async def read(token: str) -> None:
                response = await http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
                statuses[response.status_code] += 1

            async def refresh() -> None:
                async with turn:
                    body = {"refreshToken": issued["refreshToken"]}
                    response = await http.post("/auth/sessions/refresh", json=body)
                    statuses[response.status_code] += 1
                    issued.update(response.json())
                    tokens.append(issued["accessToken"])

            async def load(requests: int) -> None:
                for number in range(requests):
                    tasks.create_task(read(tokens[-1 - number % min(2, len(tokens))]))
                    if number % REQUESTS_PER_REFRESH == 0 and not turn.locked():
                        tasks.create_task(refresh())
                    await asyncio.sleep(1 / RATE)

            await load(RATE)
            first = kid_of(tokens[-1])
            rotation = tasks.create_task(operator(store, "keys", "rotate"))
            rounds = 0
            while kid_of(tokens[-1]) == first and rounds < 60:
                await load(RATE)
                rounds += 1
            await rotation
            await load(RATE)
        check_event(await eventually(lambda: last_rotation(store)))
        assert set(map(kid_of, tokens)) > {first}
        assert set(statuses) == {200}
        assert statuses[200] > 3 * RATE


async def last_rotation(store: Running) -> WireMessage | None:
    """Return the last `key.rotated` as it was published, or None if there is none yet."""
    client = await nats.connect(store.record["nats"]["admin_url"])
    try:
        stored = await client.jetstream().get_last_msg(USER_EVENTS.name, KeyRotated.subject)
    except NotFoundError:
        return None
    finally:
        await client.close()
    return WireMessage(KeyRotated.subject, "", dict(stored.headers or {}), stored.data or b"")


def check_event(event: WireMessage | None) -> None:
    """Fail unless the event is as documented; tests/e2e/default_store/test_documents.py checks all other messages."""
    assert event is not None
    examples, faults = Documents().check([event])
    assert (list(examples), faults) == ([KeyRotated.subject], [])
    check_golden(examples)
