"""The request handlers of the users service."""

from uuid import UUID

from apps.users.deps import (
    Clock,
    EmailRules,
    Passwords,
    PasswordsIfNeeded,
    Revocations,
    Users,
    UsersToRead,
)
from apps.users.endings import end_all, log_ended, revoke_user
from apps.users.errors import CurrentPasswordRequired, EmailTaken, LastAdmin, PasswordChanged, WrongPassword
from apps.users.models import User, creation_digest
from apps.users.passwords import reject_guessable
from contracts.base import Done, State
from contracts.sessions import EndReason
from contracts.users import (
    ChangePassword,
    CreatedUser,
    CreateUser,
    DeleteUser,
    GetUsers,
    ListUsers,
    UpdateUser,
    UserCreated,
    UserList,
    UserPage,
    UserUpdated,
    UserView,
)
from kit import paging
from kit.messaging.server import ReplyRouter
from kit.runtime.security_log import security_event

router = ReplyRouter()
# About as many as there are database connections: more would only wait for one, and all miss their deadline.
READS = 32
# More than may wait for a hashing thread: a burst is refused at once and does not wait for a worker.
HASHES = 256


@router.reply(CreateUser, workers=HASHES)
async def create_user(
    request: CreateUser, users: Users, passwords: Passwords, email_rules: EmailRules, clock: Clock
) -> CreatedUser:
    """Create a user with the default role; the email must be unused and the password not a common one.

    A repetition with the same key, email, name and password gets the first reply again.
    """
    email_rules.check(request.email)
    reject_guessable(request.password, "password", email=request.email, name=request.name)
    password_hash = await passwords.hash(request.password)
    user = User.register(email=request.email, name=request.name, password_hash=password_hash, now=clock.now())
    digest = creation_digest(request)
    try:
        async with users:
            await users.add(user)
            if digest is not None:
                await users.add_creation_key(digest, user)
            await users.emit(UserCreated(user=user.view()))
    except EmailTaken:
        if digest is None:
            raise
        async with users:
            first = await users.created_with(digest)
        # Without a first one it takes as long, so that the duration does not show whether the key was used.
        verified = await passwords.verify(first.password_hash if first else None, request.password)
        if first is None or not verified:
            raise
        return CreatedUser(**dict(first.as_created(request)), replayed=True)
    return CreatedUser(**dict(user.view()))


@router.reply(GetUsers, workers=READS)
async def get_users(request: GetUsers, users: UsersToRead) -> UserList:
    """Return the users with these ids, in any order; unknown ids are left out."""
    async with users:
        return UserList(users=await users.get_many(request.ids))


@router.reply(ListUsers, workers=READS)
async def list_users(request: ListUsers, users: UsersToRead) -> UserPage:
    """Return a page of users, newest first, or only the user with an email."""
    before = paging.decode(request.cursor)
    async with users:
        rows = await users.list_newest(request.limit + 1, before=before, email=request.email)
    shown, next_cursor = paging.page(rows, request.limit, lambda user: (user.created_at, user.id))
    return UserPage(data=shown, next_cursor=next_cursor)


@router.reply(UpdateUser, workers=READS)
async def update_user(
    request: UpdateUser,
    users: Users,
    passwords: PasswordsIfNeeded,
    revocations: Revocations,
    email_rules: EmailRules,
    clock: Clock,
) -> UserView:
    """Change the given fields of a user; a request that changes nothing makes no new version and no event.

    A new email, a new role and disabling end or change what tokens of the user are good for, before the reply.
    """
    email_rules.check(request.email)
    verified: User | None = None
    if request.email is not None and request.actor == request.id:
        async with users:
            before = await users.get(request.id)
        if request.email != before.email:
            verified = before
            await _verify(passwords, before, request.current_password)
    ended: list[State] = []
    async with users:
        user = await _locked(users, request.id, changes_admins=request.role is not None or request.disabled is not None)
        _expect_password(user, verified)
        user.expect(request.expected_version)
        email, role, was_admin = user.email, user.role, user.is_active_admin
        now = clock.now()
        if user.change(request, now):
            if was_admin and not user.is_active_admin and await users.is_only_admin(user.id):
                raise LastAdmin
            if user.disabled and request.disabled:
                ended = await end_all(users, user, EndReason.DISABLED, now)
            elif user.email != email:
                ended = await end_all(users, user, EndReason.EMAIL_CHANGED, now, except_session=request.session)
            elif user.role != role:
                ended = await revoke_user(users, user, now)
            await users.save(user)
            await users.emit(UserUpdated(user=user.view()))
    if user.role != role:
        security_event("role-changed", user=user.id)
    elif ended:
        log_ended(ended)
    await revocations.publish(ended)
    return user.view()


@router.reply(ChangePassword, workers=HASHES)
async def change_password(
    request: ChangePassword, users: Users, passwords: Passwords, revocations: Revocations, clock: Clock
) -> Done:
    """Change the password of a user that gives the current one; every other session ends."""
    async with users:
        before = await users.get(request.id)
    await _verify(passwords, before, request.current_password)
    reject_guessable(request.new_password, "newPassword", email=before.email, name=before.name)
    password_hash = await passwords.hash(request.new_password)
    async with users:
        user = await users.get_locked(request.id)
        _expect_password(user, before)
        now = clock.now()
        user.change_password(password_hash, now)
        ended = await end_all(users, user, EndReason.PASSWORD_CHANGED, now, except_session=request.session)
        await users.save(user)
        await users.emit(UserUpdated(user=user.view()))
    log_ended(ended)
    await revocations.publish(ended)
    return Done()


@router.reply(DeleteUser, workers=READS)
async def delete_user(
    request: DeleteUser, users: Users, passwords: PasswordsIfNeeded, revocations: Revocations, clock: Clock
) -> Done:
    """Delete a user: the row stays without name, email and password, and the email can be used again."""
    verified: User | None = None
    if request.actor == request.id:
        async with users:
            verified = await users.get(request.id)
        await _verify(passwords, verified, request.current_password)
    async with users:
        user = await _locked(users, request.id, changes_admins=True)
        _expect_password(user, verified)
        if user.is_active_admin and await users.is_only_admin(user.id):
            raise LastAdmin
        now = clock.now()
        ended = await end_all(users, user, EndReason.DELETED, now)
        deleted = user.delete(now)
        await users.save(user)
        await users.forget_creation_keys(user.id)
        await users.emit(deleted)
    log_ended(ended)
    await revocations.publish(ended)
    return Done()


async def _verify(passwords: Passwords, user: User, current: str | None) -> None:
    """Check the current password. Raises `CurrentPasswordRequired` without one, `WrongPassword` for another."""
    if current is None:
        raise CurrentPasswordRequired
    if not await passwords.verify(user.password_hash, current):
        raise WrongPassword


def _expect_password(user: User, verified: User | None) -> None:
    """Raise `PasswordChanged` if the password is not the one that was verified."""
    if verified is not None and user.password_hash != verified.password_hash:
        raise PasswordChanged


async def _locked(users: Users, user_id: UUID, *, changes_admins: bool) -> User:
    if changes_admins:
        await users.lock_admins()
    return await users.get_locked(user_id)
