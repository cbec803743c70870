"""The key of a new user: a repeated request is one user and one reply, and tells nobody else anything."""

import asyncio
from datetime import timedelta
from typing import Any

from apps.users.cleaner import delete_over
from apps.users.deps import SessionLimits
from apps.users.passwords import Passwords
from apps.users.repository import Users
from apps.users.settings import Settings
from contracts.users import ChangePassword, CreatedUser, CreateUser, DeleteUser, UpdateUser, UserCreated
from kit import database
from tests.support.password_hashers import RecordingHasher
from tests.support.users_harness import LOW_COST, PASSWORD, UsersService, new_email

KEY = "sign-up 1"
OTHER = "staple of another colour"


def creating(email: str, **fields: Any) -> CreateUser:
    return CreateUser(**{"email": email, "password": PASSWORD, "name": "Ada", "idempotency_key": KEY, **fields})


async def refused(service: UsersService, request: CreateUser) -> bool:
    """Return whether a request is refused because the email is taken."""
    return (await service.request_refused(request)).slug == "email-taken"


async def test_a_repeated_request_gets_the_first_reply(service: UsersService) -> None:
    email = new_email()
    first = await service.request(creating(email))
    again = await service.request(creating(email.upper()))
    assert (first.replayed, again) == (False, CreatedUser(**dict(first) | {"replayed": True}))
    events = [each.event for each in await service.all_events() if isinstance(each.event, UserCreated)]
    assert [event.user.id for event in events if event.user.email == email] == [first.id]


async def test_another_password_name_or_key_is_refused(service: UsersService) -> None:
    email = new_email()
    await service.request(creating(email))
    for other in ({"password": OTHER}, {"name": None}, {"name": "Eve"}, {"idempotency_key": "sign-up 2"}):
        assert await refused(service, creating(email, **other))
    assert await refused(service, CreateUser(email=email, password=PASSWORD, name="Ada"))


async def test_the_same_key_of_two_emails_makes_two_users(service: UsersService) -> None:
    users = [await service.request(creating(new_email())) for _ in range(2)]
    assert [user.replayed for user in users] == [False, False]


async def test_concurrent_requests_with_one_key_make_one_user(service: UsersService) -> None:
    email = new_email()
    users = await asyncio.gather(*(service.request(creating(email)) for _ in range(8)))
    assert len({user.id for user in users}) == 1
    assert sorted(user.replayed for user in users) == [False, *[True] * 7]


async def test_a_changed_user_does_not_change_the_first_reply(service: UsersService) -> None:
    email = new_email()
    first = await service.request(creating(email))
    await service.request(UpdateUser(id=first.id, name="Countess", email=new_email()))
    assert await service.request(creating(email)) == first.model_copy(update={"replayed": True})


async def test_a_changed_password_ends_the_key(service: UsersService) -> None:
    email = new_email()
    first = await service.request(creating(email))
    await service.request(ChangePassword(id=first.id, current_password=PASSWORD, new_password=OTHER))
    assert await refused(service, creating(email))


async def test_a_deleted_user_ends_the_key(service: UsersService) -> None:
    email = new_email()
    first = await service.request(creating(email))
    await service.request(DeleteUser(id=first.id))
    again = await service.request(creating(email))
    assert again.id != first.id
    assert not again.replayed


async def test_unknown_keys_cost_as_much_as_wrong_passwords(service: UsersService) -> None:
    email = new_email()
    await service.request(creating(email))
    hasher = RecordingHasher(**LOW_COST)
    passwords = Passwords(hasher)
    service.use_passwords(passwords)
    assert await refused(service, creating(email, password=OTHER))
    assert await refused(service, creating(email, idempotency_key="sign-up 2"))
    assert [each.error is not None for each in hasher.verified] == [True, True]
    passwords.close()


async def test_old_keys_are_forgotten(settings: Settings, real_service: UsersService) -> None:
    email = new_email()
    await real_service.request(creating(email))
    pool = database.create_pool(settings)
    await delete_over(lambda: Users(pool), SessionLimits())
    assert (await real_service.request(creating(email))).replayed
    async with Users(pool) as users:
        await users.forget_old_creation_keys(timedelta(0))
    assert await refused(real_service, creating(email))
    await pool.close()
