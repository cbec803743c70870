"""What a gateway does with revocations: tokens, roles and event streams, also in a process that starts later."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from apps.gateway.auth import TokenVerifier
from apps.gateway.errors import Unauthorized
from apps.gateway.public_keys import PublishedKeys
from apps.gateway.revocations import Revocations
from contracts.keys import JsonWebKeySet
from contracts.sessions import ListSessions, RevokeSessions
from contracts.users import Role
from kit.errors import Unavailable
from kit.messaging.client import RequestClient
from kit.tokens import Claims
from mkstore.testing.signing_keys import signer, signing_key
from tests.support.clock import Clock
from tests.support.polling import eventually
from tests.support.real_store import Servers, on_real_servers
from tests.support.revoked import caught_up, no_stored_keys, session_revoked, user_revoked
from tests.support.store import SignedInUser, Store, client_of, running
from tests.support.users_harness import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW_PASSWORD = "staple of another colour"


def claims(session: UUID, user: UUID, role: str = "user") -> Claims:
    return Claims(sub=user, sid=session, role=role, jti=uuid4(), iat=0, exp=1)


async def test_only_the_ended_session_is_refused() -> None:
    revocations, ada = Revocations(), uuid4()
    ended, other = uuid7(), uuid7()
    revocations.apply(session_revoked(ended, ada))
    assert revocations.check(claims(ended, ada)) is None
    token = claims(other, ada)
    assert revocations.check(token) == token


async def test_boundary_ends_earlier_sessions_except_one() -> None:
    revocations, ada = Revocations(), uuid4()
    first, kept, last, later = uuid7(), uuid7(), uuid7(), uuid7()
    revocations.apply(user_revoked(ada, sessions_after=last, except_session=kept))
    assert [revocations.check(claims(each, ada)) is None for each in (first, kept, last, later)] == [
        *(True, False, True, False)
    ]
    assert revocations.check(claims(first, uuid4())) is not None


async def test_role_of_the_revocation_counts() -> None:
    revocations, ada = Revocations(), uuid4()
    token = claims(uuid7(), ada, "admin")
    revocations.apply(user_revoked(ada, role=Role.USER))
    checked = revocations.check(token)
    assert checked is not None
    assert (checked.role, checked.sid, checked.sub) == ("user", token.sid, ada)
    revocations.apply(user_revoked(ada, 2, role=Role.ADMIN))
    assert revocations.check(token) == token


async def test_older_revocation_changes_nothing() -> None:
    revocations, ada, session = Revocations(), uuid4(), uuid7()
    revocations.apply(user_revoked(ada, 2, sessions_after=session))
    revocations.apply(user_revoked(ada, 1))
    assert revocations.check(claims(session, ada)) is None


async def test_entries_are_kept_as_long_as_a_token_lives() -> None:
    clock = Clock()
    revocations, ada = Revocations(clock=clock), uuid4()
    for _ in range(100):
        revocations.apply(session_revoked(uuid7(), ada))
        revocations.apply(user_revoked(uuid4()))
    clock.now += 3599
    revocations.apply(user_revoked(ada))
    assert (len(revocations.sessions), len(revocations.users)) == (100, 101)
    clock.now += 61
    revocations.apply(user_revoked(ada, 2))
    assert not revocations.sessions
    assert revocations.users == {ada}


async def test_no_token_is_accepted_before_the_revocations_are_known() -> None:
    revocations = Revocations()
    with pytest.raises(Unavailable):
        await revocations.wait_caught_up(0.01)
    waiting = asyncio.create_task(revocations.wait_caught_up(30))
    await asyncio.sleep(0)
    assert not waiting.done()
    revocations.caught_up.set()
    await waiting


async def sign_in_again(store: Store, user: SignedInUser) -> SignedInUser:
    return SignedInUser(store.http, user.user, await store.token(user.user["email"]))


async def is_refused(user: SignedInUser) -> bool:
    return (await user.get("/users/me")).status_code == 401


async def test_other_sessions_end_with_a_changed_password(store: Store) -> None:
    mine = await store.sign_up()
    other = await sign_in_again(store, mine)
    async with store.events(other) as stream, store.events(mine) as kept:
        body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        assert (await mine.request("PUT", f"/users/{mine.id}/password", json=body)).status_code == 204
        await eventually(lambda: is_refused(other))
        await stream.end()
        assert (await mine.get("/users/me")).status_code == 200
        assert (await kept.until(1))[0].type == "user.updated"
    assert (await other.pay()).status_code == 401


async def test_demoted_admin_is_refused_as_admin(store: Store) -> None:
    admin, other = await store.admin(), await store.admin()
    assert (await admin.get("/users")).status_code == 200
    demotion = await other.request("PATCH", f"/users/{admin.id}", json={"role": "user"})
    assert demotion.status_code == 200

    async def is_forbidden() -> bool:
        return (await admin.get("/users")).status_code == 403

    await eventually(is_forbidden)
    promotion = await admin.request("PATCH", f"/users/{admin.id}", json={"role": "admin"})
    assert promotion.status_code == 403
    assert (await admin.get("/users/me")).json()["role"] == "user"


async def test_ended_session_is_refused_and_its_stream_ends(store: Store) -> None:
    mine = await store.sign_up()
    other = await sign_in_again(store, mine)
    client = RequestClient(store.broker)
    sessions = (await client.request(ListSessions(user_id=UUID(mine.id)), timeout=15)).data
    newest = max(sessions, key=lambda session: session.id)
    async with store.events(other) as stream:
        await client.request(RevokeSessions(user_id=UUID(mine.id), session_id=newest.id), timeout=15)
        await eventually(lambda: is_refused(other))
        await stream.end()
    assert (await mine.get("/users/me")).status_code == 200


async def test_gateway_that_starts_later_refuses_what_was_revoked_before(servers: Servers) -> None:
    async with on_real_servers(servers) as store:
        await revoked_before_the_start(store, servers)


async def revoked_before_the_start(store: Store, servers: Servers) -> None:
    mine = await store.sign_up()
    other = await sign_in_again(store, mine)
    client = RequestClient(store.broker)
    await client.request(RevokeSessions(user_id=UUID(mine.id)), timeout=15)
    third = await sign_in_again(store, mine)
    later = servers.gateway()
    async with running(later), client_of(later) as http:
        statuses = [
            (await SignedInUser(http, mine.user, each.token).get("/users/me")).status_code
            for each in (mine, other, third)
        ]
    assert statuses == [401, 401, 200]


async def test_cached_token_of_an_ended_session_is_refused() -> None:
    revocations = caught_up()

    keys = PublishedKeys(no_stored_keys)
    keys.apply(JsonWebKeySet(keys=(signing_key().view(),)))
    verifier = TokenVerifier(keys, revocations)
    session, ada = uuid7(), uuid4()
    token = signer(timedelta(minutes=15)).sign(ada, "user", session)
    assert (await verifier.claims(token)).sid == session
    assert verifier.known(token) is not None
    revocations.apply(session_revoked(session, ada))
    assert verifier.known(token) is None
    with pytest.raises(Unauthorized):
        await verifier.claims(token)
