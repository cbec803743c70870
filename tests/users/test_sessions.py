"""Sessions in memory and on real servers: sign-in, refresh, reuse, and every way in which they end."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from apps.users.models import Session
from contracts.base import Done
from contracts.errors import ErrorKind
from contracts.keys import GetKeys
from contracts.sessions import Authenticate, IssuedSession, ListSessions, RefreshSession, RevokeSessions, SessionRevoked
from contracts.users import ChangePassword, DeleteUser, Role, UpdateUser, UserView
from kit.tokens import Verifier
from tests.support.users_harness import PASSWORD, UsersService, new_email

INVALID = (ErrorKind.UNAUTHENTICATED, "invalid-refresh-token")
NEW_PASSWORD = "staple of another colour"


@pytest.fixture
async def user(service: UsersService) -> UserView:
    """Return a new user."""
    return await service.new_user()


async def sign_in(service: UsersService, user: UserView, device: str = "") -> IssuedSession:
    return await service.request(Authenticate(email=user.email, password=PASSWORD, device=device, address="::1"))


async def refresh(service: UsersService, token: str) -> IssuedSession:
    return await service.request(RefreshSession(refresh_token=token, device="tab", address="192.0.2.1"))


async def session_ids(service: UsersService, user: UserView) -> list[str]:
    return [str(each.id) for each in (await service.request(ListSessions(user_id=user.id))).data]


async def is_refused(service: UsersService, token: str) -> bool:
    problem = await service.request_refused(RefreshSession(refresh_token=token))
    return (problem.kind, problem.slug) == INVALID


async def test_sign_in_begins_a_session(service: UsersService, user: UserView) -> None:
    issued = await sign_in(service, user, "phone")
    keys = (await service.request(GetKeys())).keys
    claims = Verifier({key.kid: key.model_dump() for key in keys}).verify(issued.access_token)
    assert (claims.sub, claims.sid) == (user.id, issued.id)
    (listed,) = (await service.request(ListSessions(user_id=user.id))).data
    assert listed.model_dump() == issued.model_dump(exclude={"access_token", "expires_in", "refresh_token"})
    assert (listed.device, listed.address, listed.user_id) == ("phone", "::1", user.id)


async def test_refresh_rotates_the_token_and_keeps_the_session(service: UsersService, user: UserView) -> None:
    issued = await sign_in(service, user)
    again = await refresh(service, issued.refresh_token)
    assert again.id == issued.id
    assert again.refresh_token != issued.refresh_token
    assert (again.device, again.address) == ("tab", "192.0.2.1")
    assert again.last_used_at > issued.last_used_at
    assert (await refresh(service, again.refresh_token)).id == issued.id


async def test_client_that_lost_the_response_gets_the_same_token(service: UsersService, user: UserView) -> None:
    first = (await sign_in(service, user)).refresh_token
    second = (await refresh(service, first)).refresh_token
    assert (await refresh(service, first)).refresh_token == second
    third = (await refresh(service, second)).refresh_token
    assert (await refresh(service, first)).refresh_token == third  # within 10 s of the last rotation


async def test_hundred_parallel_refreshes_leave_one_family(service: UsersService, user: UserView) -> None:
    first = (await sign_in(service, user)).refresh_token
    answers = await asyncio.gather(*(refresh(service, first) for _ in range(100)))
    (second,) = {answer.refresh_token for answer in answers}
    assert (await refresh(service, second)).refresh_token not in {first, second}
    assert len(await session_ids(service, user)) == 1


async def test_reuse_of_an_old_token_ends_the_session(
    service: UsersService, user: UserView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "REPEAT_TIME", timedelta(0))
    session = await sign_in(service, user)
    second = (await refresh(service, session.refresh_token)).refresh_token
    third = (await refresh(service, second)).refresh_token
    assert await is_refused(service, session.refresh_token)
    assert await is_refused(service, third)  # the session is over, for the thief and for the owner
    assert await session_ids(service, user) == []
    assert await end_reason(service, session) == "refresh-reuse"


async def test_forged_and_foreign_tokens_are_refused(service: UsersService, user: UserView) -> None:
    token = (await sign_in(service, user)).refresh_token
    other = (await sign_in(service, user)).refresh_token
    flipped = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    for forged in ("", "x", "é" * 75, token[:-1], token + "A", token + "=", flipped, token[:32] + other[32:]):
        assert await is_refused(service, forged)
    assert (await refresh(service, token)).user_id == user.id  # none of them did harm


async def test_one_session_is_ended(service: UsersService, user: UserView) -> None:
    kept, ended = await sign_in(service, user), await sign_in(service, user)
    assert await service.request(RevokeSessions(user_id=user.id, session_id=ended.id)) == Done()
    assert await session_ids(service, user) == [str(kept.id)]
    assert await is_refused(service, ended.refresh_token)
    assert f"revocations.session.{ended.id}" in await service.revocations()
    problem = await service.request_refused(RevokeSessions(user_id=user.id, session_id=ended.id))
    assert (problem.kind, problem.slug) == (ErrorKind.NOT_FOUND, "session-not-found")


async def test_session_is_ended_by_its_id_alone(service: UsersService, user: UserView) -> None:
    kept, ended = await sign_in(service, user), await sign_in(service, user)
    assert await service.request(RevokeSessions(session_id=ended.id)) == Done()
    assert await session_ids(service, user) == [str(kept.id)]
    assert f"revocations.session.{ended.id}" in await service.revocations()
    problem = await service.request_refused(RevokeSessions(session_id=ended.id))
    assert problem.slug == "session-not-found"


@pytest.mark.parametrize("given", [{}, {"except_session": uuid4()}])
def test_user_and_session_are_not_both_left_out(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="a user or a session"):
        RevokeSessions(**given)


async def test_session_of_another_user_is_not_found(service: UsersService, user: UserView) -> None:
    stranger = await service.new_user()
    session = await sign_in(service, user)
    problem = await service.request_refused(RevokeSessions(user_id=stranger.id, session_id=session.id))
    assert problem.slug == "session-not-found"
    assert await session_ids(service, user) == [str(session.id)]


async def test_all_other_sessions_are_ended(service: UsersService, user: UserView) -> None:
    sessions = [await sign_in(service, user) for _ in range(3)]
    kept = sessions[1]
    await service.request(RevokeSessions(user_id=user.id, except_session=kept.id))
    assert await session_ids(service, user) == [str(kept.id)]
    revocation = await service.user_revocation(user.id)
    assert revocation.sessions_after is not None
    assert all(each.id <= revocation.sessions_after for each in sessions)
    assert revocation.except_session == kept.id
    assert (await sign_in(service, user)).id > revocation.sessions_after


async def test_password_change_ends_every_other_session(service: UsersService, user: UserView) -> None:
    mine, other = await sign_in(service, user), await sign_in(service, user)
    await service.request(
        ChangePassword(id=user.id, current_password=PASSWORD, new_password=NEW_PASSWORD, session=mine.id)
    )
    assert await session_ids(service, user) == [str(mine.id)]
    assert await is_refused(service, other.refresh_token)
    revocation = await service.user_revocation(user.id)
    assert (revocation.except_session, revocation.role) == (mine.id, Role.USER)
    assert await end_reason(service, other) == "password-changed"


async def test_own_email_changes_only_with_the_current_password(service: UsersService, user: UserView) -> None:
    mine, other = await sign_in(service, user), await sign_in(service, user)
    change = UpdateUser(id=user.id, email=new_email(), actor=user.id, session=mine.id)
    problem = await service.request_refused(change)
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "current-password-required")
    wrong = change.model_copy(update={"current_password": "wrong"})
    assert (await service.request_refused(wrong)).slug == "wrong-password"
    assert (await service.get(user.id)) == user
    await service.request(change.model_copy(update={"current_password": PASSWORD}))
    assert await session_ids(service, user) == [str(mine.id)]
    assert await is_refused(service, other.refresh_token)


async def test_name_changes_without_a_password_and_ends_nothing(service: UsersService, user: UserView) -> None:
    session = await sign_in(service, user)
    await service.request(UpdateUser(id=user.id, name="Ada", email=user.email, actor=user.id, session=session.id))
    assert await session_ids(service, user) == [str(session.id)]


async def test_user_deletes_itself_only_with_the_current_password(service: UsersService, user: UserView) -> None:
    session = await sign_in(service, user)
    assert (await service.request_refused(DeleteUser(id=user.id, actor=user.id))).slug == "current-password-required"
    wrong = DeleteUser(id=user.id, actor=user.id, current_password="wrong")
    assert (await service.request_refused(wrong)).slug == "wrong-password"
    await service.request(DeleteUser(id=user.id, actor=user.id, current_password=PASSWORD))
    assert await is_refused(service, session.refresh_token)
    assert (await service.user_revocation(user.id)).sessions_after is not None


async def test_disabled_user_has_no_session_and_gets_none_back(service: UsersService, user: UserView) -> None:
    admin = await service.new_user()
    session = await sign_in(service, user)
    await service.request(UpdateUser(id=user.id, disabled=True, actor=admin.id))
    assert await is_refused(service, session.refresh_token)
    await service.request(UpdateUser(id=user.id, disabled=False, actor=admin.id))
    assert await is_refused(service, session.refresh_token)
    assert (await sign_in(service, user)).id > session.id


async def test_changed_role_is_published_and_ends_no_session(service: UsersService, user: UserView) -> None:
    session = await sign_in(service, user)
    await service.request(UpdateUser(id=user.id, role=Role.ADMIN))
    assert await session_ids(service, user) == [str(session.id)]
    revocation = await service.user_revocation(user.id)
    assert (revocation.role, revocation.sessions_after) == (Role.ADMIN, None)


async def test_least_recently_used_session_over_the_limit_ends(service: UsersService, user: UserView) -> None:
    service.limit_sessions(3)
    first, second, third = [await sign_in(service, user) for _ in range(3)]
    await refresh(service, first.refresh_token)
    fourth = await sign_in(service, user)
    assert set(await session_ids(service, user)) == {str(first.id), str(third.id), str(fourth.id)}
    assert f"revocations.session.{second.id}" in await service.revocations()
    assert await end_reason(service, second) == "too-many"


async def test_session_ends_when_it_is_idle(service: UsersService, user: UserView) -> None:
    session = await sign_in(service, user)
    service.limit_sessions(100, idle=timedelta(0))
    assert await is_refused(service, session.refresh_token)
    assert await session_ids(service, user) == []


async def end_reason(service: UsersService, session: IssuedSession) -> str:
    """Return why a session ended, from its event."""
    (published,) = await service.published_events(session.id, 1)
    assert isinstance(published.event, SessionRevoked)
    assert (published.event.id, published.event.user_id) == (session.id, session.user_id)
    return published.event.reason
