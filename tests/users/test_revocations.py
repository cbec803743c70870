"""Revocations: published before the reply, again after a failure, and never an older one over a newer one."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from nats.errors import NoRespondersError

from apps.users.cleaner import delete_over
from apps.users.deps import SessionLimits
from apps.users.models import Session
from apps.users.refresh_tokens import SessionKeys
from apps.users.repository import Users
from apps.users.revocations import Revocations, publisher
from apps.users.settings import Settings
from contracts.errors import ErrorKind
from contracts.revocations import UserRevocation
from contracts.sessions import Authenticate, ListSessions
from contracts.users import DeleteUser, ListUsers, Role, UpdateUser, UserView
from kit import database
from kit.database import DATABASE
from kit.errors import OutcomeUnknown, Unavailable
from mkstore.testing.fakes.users import FakeUsers, UsersData
from mkstore.testing.signing_keys import SECRET
from tests.support.users_harness import PASSWORD, UsersService


def revocation(version: int) -> UserRevocation:
    return UserRevocation(
        user_id=uuid4(),
        version=version,
        sessions_after=None,
        except_session=None,
        role=Role.USER,
        revoked_at=datetime.now(UTC),
    )


async def test_revocation_that_nats_refused_is_published_later() -> None:
    store = UsersData()
    is_down = True

    async def publish(subject: str, body: bytes) -> None:
        if is_down:
            raise NoRespondersError
        await store.sessions.publish(subject, body)

    open_users: Any = lambda: FakeUsers(store)  # noqa: E731
    wanted = revocation(1)
    async with FakeUsers(store) as users:
        await users.store_revocations([wanted])
    revocations = Revocations(open_users, publish, timeout=0.05)
    with pytest.raises(OutcomeUnknown):
        await revocations.publish([wanted])
    assert store.sessions.published == {}
    is_down = False
    await asyncio.sleep(0.06)
    assert await revocations.repeat() == 1
    assert store.sessions.published == {wanted.address: wanted.model_dump_json().encode()}
    assert await revocations.repeat() == 0


async def test_published_revocation_is_not_repeated() -> None:
    store = UsersData()
    open_users: Any = lambda: FakeUsers(store)  # noqa: E731
    revocations = Revocations(open_users, store.sessions.publish)
    wanted = revocation(1)
    async with FakeUsers(store) as users:
        await users.store_revocations([wanted])
    await revocations.publish([wanted])
    assert store.sessions.revocations == {}


@pytest.mark.parametrize("failure", [Unavailable(DATABASE), OutcomeUnknown(DATABASE)])
async def test_published_change_is_no_refusal_when_the_database_dies_then(failure: Exception) -> None:
    """The change is committed and published: "nothing was done" would be false."""
    store = UsersData()
    is_down = True

    def open_users() -> Any:
        if is_down:
            raise failure
        return FakeUsers(store)

    revocations = Revocations(open_users, store.sessions.publish, timeout=0.05)
    wanted = revocation(1)
    async with FakeUsers(store) as users:
        await users.store_revocations([wanted])
    await revocations.publish([wanted])
    assert store.sessions.published == {wanted.address: wanted.model_dump_json().encode()}
    is_down = False
    await asyncio.sleep(0.06)
    assert await revocations.repeat() == 1
    assert store.sessions.revocations == {}


async def test_older_revocation_never_replaces_a_newer_one(real_service: UsersService) -> None:
    publish = publisher(real_service.broker)
    newest = revocation(100)
    versions = [newest.model_copy(update={"version": version}) for version in range(1, 100)]
    messages = [(each.address, each.model_dump_json().encode()) for each in (*versions, newest)]
    await asyncio.gather(*(publish(*message) for message in reversed(messages)))
    assert (await real_service.user_revocation(newest.user_id)).version == 100


async def test_last_admin_stays_an_admin(service: UsersService) -> None:
    (last,) = await only_admins(service, 1)
    other = await service.new_user()
    for request in (
        UpdateUser(id=last.id, role=Role.USER),
        UpdateUser(id=last.id, disabled=True),
        DeleteUser(id=last.id),
    ):
        problem = await service.request_refused(request)
        assert (problem.kind, problem.slug) == (ErrorKind.CONFLICT, "last-admin")
    await service.request(UpdateUser(id=other.id, role=Role.ADMIN))
    await service.request(UpdateUser(id=last.id, role=Role.USER))


async def test_of_two_admins_that_are_demoted_at_once_one_stays(service: UsersService) -> None:
    admins = await only_admins(service, 2)
    await asyncio.gather(
        *(service.request(UpdateUser(id=admin.id, role=Role.USER)) for admin in admins), return_exceptions=True
    )
    roles = [user.role for admin in admins if (user := await service.get(admin.id)) is not None]
    assert sorted(roles) == [Role.ADMIN, Role.USER]


async def only_admins(service: UsersService, number: int) -> list[UserView]:
    """Return new admins, and leave no other one."""
    admins = [await service.new_user() for _ in range(number)]
    for admin in admins:
        await service.request(UpdateUser(id=admin.id, role=Role.ADMIN))
    cursor = None
    while True:
        page = await service.request(ListUsers(limit=100, cursor=cursor))
        for user in page.data:
            if user.role is Role.ADMIN and user.id not in {admin.id for admin in admins}:
                await service.request(UpdateUser(id=user.id, role=Role.USER))
        if (cursor := page.next_cursor) is None:
            return admins


async def test_sessions_that_are_over_are_deleted(settings: Settings, real_service: UsersService) -> None:
    user: UserView = await real_service.new_user()
    live = await real_service.request(Authenticate(email=user.email, password=PASSWORD))
    pool = database.create_pool(settings)
    keys, old = SessionKeys(SECRET), uuid4()
    over = Session.begin(old, user.id, device="", address="", sealed=keys.new(old), now=datetime.now(UTC))
    over.last_used_at -= timedelta(days=31)
    async with Users(pool) as users:
        await users.add_session(over)
    await delete_over(lambda: Users(pool), SessionLimits())
    async with Users(pool) as users:
        assert await users.get_session_locked(old) is None
        assert await users.get_session_locked(live.id) is not None
    assert len((await real_service.request(ListSessions(user_id=user.id))).data) == 1
    await pool.close()
