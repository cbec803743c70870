"""The request handlers of the users service."""

from contextlib import suppress
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from apps.users.deps import Passwords, Signer, SigningKeysToRead, Users, UsersToRead
from apps.users.errors import InvalidCredentials, PasswordChanged, WrongPassword
from apps.users.models import User
from apps.users.passwords import reject_common
from contracts.base import Done
from contracts.keys import GetKeys, JsonWebKeySet
from contracts.users import (
    Authenticate,
    ChangePassword,
    CreateUser,
    DeleteUser,
    Email,
    GetUsers,
    ListUsers,
    Tokens,
    UpdateUser,
    UserCreated,
    UserList,
    UserPage,
    UserUpdated,
    UserView,
)
from kit import paging
from kit.errors import Unavailable
from kit.messaging.server import ReplyRouter

router = ReplyRouter()
# About as many as there are database connections: more would only wait for one, and all miss their deadline.
_READS = 32
# More than may wait for a hashing thread: a burst is refused at once and does not wait for a worker.
_PASSWORDS = 256
_email: TypeAdapter[str] = TypeAdapter(Email)


@router.reply(CreateUser, workers=_PASSWORDS)
async def create_user(request: CreateUser, users: Users, passwords: Passwords) -> UserView:
    """Create a user with the default role; the email must be unused and the password not a common one."""
    reject_common(request.password, request.email, "password")
    password_hash = await passwords.hash(request.password)
    user = User.register(email=request.email, name=request.name, password_hash=password_hash)
    async with users:
        await users.add(user)
        await users.emit(UserCreated(user=user.view()))
    return user.view()


@router.reply(GetUsers, workers=_READS)
async def get_users(request: GetUsers, users: UsersToRead) -> UserList:
    """Return the users with these ids, in any order; unknown ids are left out."""
    async with users:
        return UserList(users=await users.get_many(request.ids))


@router.reply(ListUsers, workers=_READS)
async def list_users(request: ListUsers, users: UsersToRead) -> UserPage:
    """Return a page of users, newest first, or only the user with an email."""
    before = paging.decode(request.cursor)
    async with users:
        rows = await users.list_newest(request.limit + 1, before=before, email=request.email)
    shown, next_cursor = paging.page(rows, request.limit, lambda user: (user.created_at, user.id))
    return UserPage(data=shown, next_cursor=next_cursor)


@router.reply(UpdateUser, workers=_READS)
async def update_user(request: UpdateUser, users: Users) -> UserView:
    """Change the given fields of a user; a request that changes nothing makes no new version and no event."""
    async with users:
        user = await users.get_locked(request.id)
        user.expect(request.expected_version)
        if user.change(request):
            await users.save(user)
            await users.emit(UserUpdated(user=user.view()))
    return user.view()


@router.reply(ChangePassword, workers=_PASSWORDS)
async def change_password(request: ChangePassword, users: Users, passwords: Passwords) -> Done:
    """Change the password of a user that gives the current one; the user gets a new version, and an event."""
    async with users:
        before = await users.get(request.id)
    if not await passwords.verify(before.password_hash, request.current_password):
        raise WrongPassword
    reject_common(request.new_password, before.email, "newPassword")
    password_hash = await passwords.hash(request.new_password)
    async with users:
        user = await users.get_locked(request.id)
        if user.password_hash != before.password_hash:
            raise PasswordChanged
        user.change_password(password_hash)
        await users.save(user)
        await users.emit(UserUpdated(user=user.view()))
    return Done()


@router.reply(DeleteUser, workers=_READS)
async def delete_user(request: DeleteUser, users: Users) -> Done:
    """Delete a user: the row stays without name, email and password, and the email can be used again."""
    async with users:
        user = await users.get_locked(request.id)
        deleted = user.delete()
        await users.save(user)
        await users.emit(deleted)
    return Done()


@router.reply(Authenticate, workers=_PASSWORDS)
async def authenticate(request: Authenticate, users: Users, passwords: Passwords, signer: Signer) -> Tokens:
    """Exchange email and password for an access token; every refusal is the same and takes one password check."""
    async with users:
        user = await users.with_email(_normalized(request.email))
    password_hash = user.password_hash if user else None
    is_right = await passwords.verify(password_hash, request.password)
    if user is None or password_hash is None or not is_right or user.disabled:
        raise InvalidCredentials
    if passwords.is_outdated(password_hash):
        with suppress(Unavailable):  # it is hashed again at the next login
            new_hash = await passwords.hash(request.password)
            async with users:
                await users.replace_hash(user.id, password_hash, new_hash)
    token = signer.sign(user.id, user.role)
    return Tokens(access_token=token, expires_in=int(signer.lifetime.total_seconds()))


@router.reply(GetKeys, workers=_READS)
async def get_keys(_: GetKeys, keys: SigningKeysToRead, signer: Signer) -> JsonWebKeySet:
    """Return the public keys that verify every valid token."""
    async with keys:
        return JsonWebKeySet(keys=await keys.public(retired_since=datetime.now(UTC) - signer.lifetime))


def _normalized(email: str) -> str:
    """Return an email in its stored form; text that is not an email is returned as it is and matches no user."""
    try:
        return _email.validate_python(email)
    except ValidationError:
        return email
