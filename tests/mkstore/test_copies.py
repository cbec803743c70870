"""A stolen login of payments copies its own dead letter to what decides about tokens: nobody believes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from apps.gateway.events import event_router, owner_of
from apps.gateway.payments.waiters import Waiters
from apps.gateway.public_keys import PublishedKeys, stored_keys
from apps.gateway.revocations import Revocations
from apps.gateway.sse.broadcaster import Broadcaster
from apps.gateway.sse.history import StreamedHistory
from apps.users import key_publication, revocations
from contracts.keys import PublicKeys
from contracts.users import Role
from kit.errors import Unavailable
from kit.messaging.broker import Broker
from kit.messaging.demand import Demand
from kit.tokens import Claims
from mkstore.stack.servers import NatsServer
from tests.mkstore.conftest import Connection
from tests.support.copies import copy_forged
from tests.support.polling import eventually
from tests.support.revoked import user_revoked
from tests.support.signing_keys import signing_key

LETTER = "dead.user.created"

pytestmark = pytest.mark.parametrize("connection", ["payments"], indirect=True)


async def forge(connection: Connection, subject: str, body: str) -> None:
    """Copy a dead letter with this body to a subject that payments may not publish."""
    await connection.client.publish(subject, body.encode())
    assert "permissions violation" in (await connection.error()).lower()
    await copy_forged(connection.client, "DEAD_LETTERS", LETTER, body.encode(), subject)


@asynccontextmanager
async def login(server: NatsServer, name: str) -> AsyncIterator[Broker]:
    broker = Broker(server.url_as(name, server.port), name=name)
    await broker.connect()
    try:
        yield broker
    finally:
        await broker.stop()


class Gateway:
    """What a gateway knows about keys and revocations."""

    def __init__(self, server: NatsServer) -> None:
        self.broker = Broker(server.url_as("gateway", server.port), name="gateway")
        self.revocations, self.keys = Revocations(), PublishedKeys(stored_keys(self.broker))
        broadcaster = Broadcaster(StreamedHistory(self.broker), owner_of)
        self.broker.include_router(event_router(broadcaster, Waiters(), self.revocations, self.keys, Demand()))

    async def __aenter__(self) -> Self:
        await self.broker.start()
        await eventually(self.revocations.caught_up.is_set)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.broker.stop()


def claims(user: UUID) -> Claims:
    return Claims(sub=user, sid=uuid7(), role="user", jti=uuid4(), iat=0, exp=1)


async def test_forged_public_keys_are_not_used(server: NatsServer, connection: Connection) -> None:
    async with login(server, "users") as users, Gateway(server) as gateway:
        genuine = PublicKeys(keys=(signing_key().view(),))
        forged = PublicKeys(keys=(signing_key(1).view(),))

        async def read() -> PublicKeys:
            return genuine

        publish = key_publication.publisher(users)
        await publish(read)
        keys, _ = await gateway.keys.current()
        await forge(connection, PublicKeys.subject, forged.model_dump_json())
        with pytest.raises(Unavailable):
            await stored_keys(gateway.broker)()
        assert not await publish(read)  # users sees that the last message is not its own
        assert (await gateway.keys.current())[0] == keys
        async with Gateway(server) as later:
            assert (await later.keys.current())[0] == keys


async def test_forged_revocation_gives_nobody_a_role(server: NatsServer, connection: Connection) -> None:
    token = claims(uuid4())
    async with Gateway(server) as gateway:
        promoted = user_revoked(token.sub, role=Role.ADMIN)
        await forge(connection, promoted.address, promoted.model_dump_json())
        await eventually(lambda: gateway.revocations.check(token) is None)  # the session that it may have hidden


@pytest.mark.parametrize("kind", ["session", "user"])
async def test_revocation_that_was_replaced_still_counts(server: NatsServer, connection: Connection, kind: str) -> None:
    """JetStream publishes the answer to any request, such as the size of a stream, on the subject that it names."""
    token = claims(uuid4())
    subject = f"revocations.{kind}.{token.sid if kind == 'session' else token.sub}"
    request = "$JS.API.STREAM.INFO.DEAD_LETTERS"
    await connection.client.publish(request, reply=subject)
    await connection.client.flush()
    await asyncio.sleep(0.1)
    async with Gateway(server) as later:
        assert later.revocations.check(token) is None
        assert later.revocations.check(claims(token.sub if kind == "session" else uuid4())) is not None
        assert later.revocations.check(token.model_copy(update={"sid": uuid7()})) is not None


async def test_users_replaces_what_is_no_revocation(server: NatsServer, connection: Connection) -> None:
    token = claims(uuid4())
    async with login(server, "users") as users, Gateway(server) as gateway:
        genuine = user_revoked(token.sub, role=Role.USER)
        forged = genuine.model_copy(update={"version": 1000, "role": Role.ADMIN})
        await forge(connection, genuine.address, forged.model_dump_json())
        await eventually(lambda: gateway.revocations.check(token) is None)
        await revocations.publisher(users)(genuine.address, genuine.model_dump_json().encode())
        await eventually(lambda: gateway.revocations.check(token) == token)
