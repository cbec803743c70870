"""The request handlers of sessions: sign-in, refresh, and their end."""

from contextlib import suppress

from apps.users import refresh_tokens
from apps.users.deps import Clock, Limits, Passwords, Revocations, SessionKeys, Signer, Users, UsersToRead
from apps.users.endings import end_all, log_ended, revoke_sessions
from apps.users.errors import InvalidCredentials, InvalidRefreshToken, SessionNotFound, UserNotFound
from apps.users.models import Session, Use, User
from apps.users.requests import HASHES, READS
from contracts.base import Done
from contracts.sessions import (
    Authenticate,
    EndReason,
    IssuedSession,
    ListSessions,
    RefreshSession,
    RevokeSessions,
    SessionList,
)
from contracts.users import canonical_email
from kit.errors import Unavailable
from kit.messaging.server import ReplyRouter
from kit.runtime.security_log import security_event

router = ReplyRouter()


@router.reply(Authenticate, workers=HASHES)
async def authenticate(
    request: Authenticate,
    users: Users,
    passwords: Passwords,
    signer: Signer,
    keys: SessionKeys,
    limits: Limits,
    revocations: Revocations,
    clock: Clock,
) -> IssuedSession:
    """Begin a session with an email and a password; every refusal is the same and takes one password check."""
    async with users:
        found = await users.with_email(canonical_email(request.email))
    password_hash = found.password_hash if found else None
    is_right = await passwords.verify(password_hash, request.password)
    if found is None or password_hash is None or not is_right or found.disabled:
        raise _refused(found, request)
    new_hash = None
    if passwords.is_outdated(password_hash):
        with suppress(Unavailable):  # it is hashed again at the next sign-in
            new_hash = await passwords.hash(request.password)
    async with users:
        user = await _still_the_same(users, found, request)
        if new_hash is not None:
            await users.replace_hash(user.id, password_hash, new_hash)
        session_id, now = user.new_session_id(), clock.now()
        session = Session.begin(
            session_id, user.id, device=request.device, address=request.address, sealed=keys.new(session_id), now=now
        )
        await users.add_session(session)
        excess = await users.end_excess_sessions(user.id, limits.per_user)
        ended = await revoke_sessions(users, user.id, excess, EndReason.TOO_MANY, now)
    await revocations.publish(ended)
    security_event("sign-in", user=user.id, session=session.id, address=request.address)
    return _issued(session, user, keys, signer)


@router.reply(RefreshSession, workers=READS)
async def refresh_session(
    request: RefreshSession,
    users: Users,
    signer: Signer,
    keys: SessionKeys,
    limits: Limits,
    revocations: Revocations,
    clock: Clock,
) -> IssuedSession:
    """Exchange a refresh token for new tokens; one that was replaced earlier ends its session."""
    token = refresh_tokens.read(request.refresh_token)
    if token is None:
        raise InvalidRefreshToken
    async with users:
        session, now = await users.get_session_locked(token.session), clock.now()
        if session is None or not keys.has_issued(session, token) or session.is_over(limits.idle, limits.longest, now):
            raise InvalidRefreshToken
        try:
            user = await users.get(session.user_id)
        except UserNotFound:
            raise InvalidRefreshToken from None
        use = session.use(token.counter, device=request.device, address=request.address, now=now)
        if use is Use.REUSED:
            await users.end_session(user.id, session.id)
            ended = await revoke_sessions(users, user.id, [session.id], EndReason.REFRESH_REUSE, now)
        elif use is Use.ROTATED:
            await users.save_session(session)
    if use is Use.REUSED:
        security_event("refresh-reuse", user=user.id, session=session.id, address=request.address)
        await revocations.publish(ended)
        raise InvalidRefreshToken
    return _issued(session, user, keys, signer)


@router.reply(ListSessions, workers=READS)
async def list_sessions(request: ListSessions, users: UsersToRead, limits: Limits, clock: Clock) -> SessionList:
    """Return the sessions of a user that have not ended."""
    now = clock.now()
    async with users:
        sessions = await users.sessions_of(
            request.user_id, used_since=now - limits.idle, begun_since=now - limits.longest
        )
    return SessionList(data=tuple(sessions))


@router.reply(RevokeSessions, workers=READS)
async def end_sessions(request: RevokeSessions, users: Users, revocations: Revocations, clock: Clock) -> Done:
    """End one session, or all of a user except one; the revocation is published before the reply."""
    async with users:
        if request.session_id is not None:
            session = await users.get_session_locked(request.session_id)
            if session is None or request.user_id not in {None, session.user_id}:
                raise SessionNotFound(request.session_id)
            await users.end_session(session.user_id, session.id)
            ended = await revoke_sessions(users, session.user_id, [session.id], EndReason.SIGNED_OUT, clock.now())
        elif request.user_id is not None:
            user = await users.get_locked(request.user_id)
            ended = await end_all(users, user, EndReason.SIGNED_OUT, clock.now(), except_session=request.except_session)
            await users.save(user)
    log_ended(ended)
    await revocations.publish(ended)
    return Done()


def _refused(found: User | None, request: Authenticate) -> InvalidCredentials:
    security_event("sign-in-refused", user=found.id if found else None, address=request.address)
    return InvalidCredentials()


async def _still_the_same(users: Users, found: User, request: Authenticate) -> User:
    """Return the user, locked. Raises `InvalidCredentials` if its password was changed, or it was closed, meanwhile."""
    try:
        user = await users.get_locked(found.id)
    except UserNotFound:
        raise _refused(found, request) from None
    if user.password_hash != found.password_hash or user.disabled:
        raise _refused(found, request)
    return user


def _issued(session: Session, user: User, keys: SessionKeys, signer: Signer) -> IssuedSession:
    return IssuedSession(
        **session.view().model_dump(by_alias=False),
        access_token=signer.sign(user.id, user.role, session.id),
        expires_in=int(signer.lifetime.total_seconds()),
        refresh_token=keys.current_token(session),
    )
