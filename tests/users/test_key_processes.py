"""A rotation goes on after the users service was killed, whatever step it was at."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from contracts.keys import KeyRotated, KeyState, ListKeys, PublicKeys, RotateKey, SigningKeyView
from contracts.streams import PUBLIC_KEYS, USER_EVENTS
from kit.errors import Refusal
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.runtime.failpoints import AFTER_COMMIT, AFTER_PUBLISH, BEFORE_COMMIT
from mkstore.stack.servers import NatsServer
from mkstore.testing.signing_keys import SECRET
from tests.conftest import NewDatabase
from tests.support.polling import eventually
from tests.support.service_harness import stored_events
from tests.support.service_processes import ServiceProcess, connect, run_service


async def keys_of(broker: Broker) -> list[SigningKeyView]:
    return list((await RequestClient(broker, timeout=10).request(ListKeys())).data)


async def published(broker: Broker) -> set[str]:
    last = await broker.jetstream.get_last_msg(PUBLIC_KEYS.name, PublicKeys.subject)
    return {key.kid for key in PublicKeys.model_validate_json(last.data or b"").keys}


async def rotate_and_die(broker: Broker, users: ServiceProcess, folder: Path, step: str, point: str) -> None:
    """Begin a rotation, and wait until the process has killed itself at a failpoint of this step."""
    if step == "rotate":
        (folder / f"users.{point}").touch()
    try:
        await RequestClient(broker, timeout=1).request(RotateKey())
    except Refusal:
        assert step == "rotate"
    if step == "activate":
        (folder / f"users.{point}").touch()
    await users.wait_exit()


@pytest.mark.parametrize(
    ("step", "point"),
    [("rotate", AFTER_COMMIT), ("rotate", AFTER_PUBLISH), ("activate", BEFORE_COMMIT), ("activate", AFTER_COMMIT)],
)
async def test_rotation_goes_on_after_a_kill(
    tmp_path: Path, nats_server: NatsServer, new_database: NewDatabase, step: str, point: str
) -> None:
    environment: Mapping[str, str] = {
        **new_database("users"),
        "NATS_URL": nats_server.url,
        "JWT_SECRET": SECRET.get_secret_value(),
        "KEY_CACHE_SECONDS": "2",
        "FAILPOINTS": str(tmp_path),
    }
    async with connect(nats_server.url) as broker:
        async with run_service("users", tmp_path, environment) as users:
            await users.wait_ready()
            (first,) = await keys_of(broker)
            await rotate_and_die(broker, users, tmp_path, step, point)
        async with run_service("users", tmp_path, environment) as users:
            await users.wait_ready()

            async def rotated() -> bool:
                return [key.state for key in await keys_of(broker)] == [KeyState.ACTIVE, KeyState.RETIRED]

            await eventually(rotated, describe=lambda: users.text)
            new, old = await keys_of(broker)
            assert (old.kid, await published(broker)) == (first.kid, {new.kid, old.kid})

            async def announced() -> list[KeyRotated]:
                events = [each.event for each in await stored_events(broker, USER_EVENTS, "users")]
                return [each for each in events if isinstance(each, KeyRotated) and each.kid == new.kid]

            assert len(await eventually(announced)) == 1
