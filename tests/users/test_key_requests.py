"""The requests about signing keys, in memory and on real servers."""

import pytest

from apps.users.settings import Settings
from contracts.keys import GetKeys, KeyState, ListKeys, PublicKeys, RotateKey
from contracts.streams import PUBLIC_KEYS
from mkstore.stack.servers import NatsServer
from tests.conftest import NewDatabase
from tests.support.users_harness import UsersService, low_cost
from tests.users.conftest import settings_for


@pytest.fixture
def settings(nats_server: NatsServer, new_database: NewDatabase) -> Settings:
    """Return settings with a new database: a rotation lasts longer than a test."""
    return low_cost(settings_for(new_database("users"), nats_server.url))


async def test_next_key_is_published_and_listed(service: UsersService) -> None:
    (active,) = (await service.request(ListKeys())).data
    assert (active.state, active.leaves_at) == (KeyState.ACTIVE, None)
    following = await service.request(RotateKey())
    assert following.state is KeyState.NEXT
    assert following.signs_from is not None
    assert following.signs_from > following.created_at
    assert [key.kid for key in (await service.request(GetKeys())).keys] == [following.kid, active.kid]
    assert [key.state for key in (await service.request(ListKeys())).data] == [KeyState.NEXT, KeyState.ACTIVE]
    problem = await service.request_refused(RotateKey())
    assert problem.slug == "rotation-in-progress"


async def test_keys_that_verify_are_those_of_the_stream(real_service: UsersService) -> None:
    last = await real_service.broker.jetstream.get_last_msg(PUBLIC_KEYS.name, PublicKeys.subject)
    assert last.data is not None
    assert PublicKeys.model_validate_json(last.data).keys == (await real_service.request(GetKeys())).keys
