"""Answers to the requests of contracts.users, one function each."""

from contextlib import suppress
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from apps.users.deps import Passwords, Signer, SigningKeysToRead, Users, UsersToRead
from apps.users.errors import InvalidCredentials, PasswordChanged, WrongPassword
from apps.users.models import User
from apps.users.passwords import refuse_easy
from contracts.base import Done
from contracts.users import (
    Authenticate,
    ChangePassword,
    CreateUser,
    DeleteUser,
    Email,
    GetKeys,
    GetUsers,
    JsonWebKeySet,
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
# More than may wait for a hashing thread: a burst is refused at once and does not queue up before the workers.
_PASSWORDS = 256
_email: TypeAdapter[str] = TypeAdapter(Email)


@router.reply(CreateUser, workers=_PASSWORDS)
async def create_user(request: CreateUser, users: Users, passwords: Passwords) -> UserView:
    """Register a user; the email must be free and the password not a common one."""
    refuse_easy(request.password, request.email, "password")
    password_hash = await passwords.hash(request.password)
    user = User.register(email=request.email, name=request.name, password_hash=password_hash)
    async with users:
        await users.add(user)
        await users.emit(UserCreated(user=user.view()))
    return user.view()


@router.reply(GetUsers, workers=_READS)
async def get_users(request: GetUsers, users: UsersToRead) -> UserList:
    """Look up many users by id; an unknown id is left out of the answer."""
    async with users:
        return UserList(users=await users.get_many(request.ids))


@router.reply(ListUsers, workers=_READS)
async def list_users(request: ListUsers, users: UsersToRead) -> UserPage:
    """Look through all users, newest first, or for the one with an email."""
    before = paging.decode(request.cursor)
    async with users:
        found = await users.list_newest(request.limit + 1, before=before, email=request.email)
    shown, next_cursor = paging.page(found, request.limit, lambda user: (user.created_at, user.id))
    return UserPage(users=shown, next_cursor=next_cursor)


@router.reply(UpdateUser, workers=_READS)
async def update_user(request: UpdateUser, users: Users) -> UserView:
    """Change what is said and leave what is not; what changes nothing makes no version and no event."""
    async with users:
        user = await users.get_locked(request.id)
        user.expect(request.expected_version)
        if user.change(request):
            await users.save(user)
            await users.emit(UserUpdated(user=user.view()))
    return user.view()


@router.reply(ChangePassword, workers=_PASSWORDS)
async def change_password(request: ChangePassword, users: Users, passwords: Passwords) -> Done:
    """Give a user, who knows the old one, a new password; a change of the user like any other, with its event."""
    async with users:
        known = await users.get(request.id)
    if not await passwords.verify(known.password_hash, request.current_password):
        raise WrongPassword
    refuse_easy(request.new_password, known.email, "newPassword")
    password_hash = await passwords.hash(request.new_password)
    async with users:
        user = await users.get_locked(request.id)
        if user.password_hash != known.password_hash:
            raise PasswordChanged
        user.change_password(password_hash)
        await users.save(user)
        await users.emit(UserUpdated(user=user.view()))
    return Done()


@router.reply(DeleteUser, workers=_READS)
async def delete_user(request: DeleteUser, users: Users) -> Done:
    """Forget a user: the row stays without a name, an email or a password, and the email is free again."""
    async with users:
        user = await users.get_locked(request.id)
        deleted = user.delete()
        await users.save(user)
        await users.emit(deleted)
    return Done()


@router.reply(Authenticate, workers=_PASSWORDS)
async def authenticate(request: Authenticate, users: Users, passwords: Passwords, signer: Signer) -> Tokens:
    """Exchange an email and a password for tokens; every refusal is the same and takes one password check."""
    async with users:
        user = await users.with_email(_normalised(request.email))
    password_hash = user.password_hash if user else None
    right = await passwords.verify(password_hash, request.password)
    if user is None or password_hash is None or not right or user.disabled:
        raise InvalidCredentials
    if passwords.is_outdated(password_hash):
        with suppress(Unavailable):  # the next time will do
            new_hash = await passwords.hash(request.password)
            async with users:
                await users.replace_hash(user.id, password_hash, new_hash)
    token = signer.sign(user.id, user.role)
    return Tokens(access_token=token, expires_in=int(signer.lifetime.total_seconds()))


@router.reply(GetKeys, workers=_READS)
async def get_keys(_: GetKeys, keys: SigningKeysToRead, signer: Signer) -> JsonWebKeySet:
    """Show the public keys with which a token that is still good may have been signed."""
    async with keys:
        return JsonWebKeySet(keys=await keys.public(retired_since=datetime.now(UTC) - signer.lifetime))


def _normalised(email: str) -> str:
    """Write what somebody typed as an email is written here; what is none belongs to nobody as it is."""
    try:
        return _email.validate_python(email)
    except ValidationError:
        return email
