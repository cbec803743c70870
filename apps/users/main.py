"""Composition root of the users service: `faststream run apps.users.main:app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from argon2 import PasswordHasher

import apps.users
from apps.users import key_publication, key_requests, requests, session_requests
from apps.users.cleaner import cleaner
from apps.users.deps import Dependencies, SessionLimits
from apps.users.errors import (
    CurrentPasswordRequired,
    EmailTaken,
    InvalidCredentials,
    InvalidRefreshToken,
    LastAdmin,
    PasswordChanged,
    PasswordTooCommon,
    RotationInProgress,
    SessionNotFound,
    SigningKeyNotFound,
    UserNotFound,
    VersionMismatch,
    WrongPassword,
)
from apps.users.key_models import KeyTimes
from apps.users.key_repository import SigningKeys
from apps.users.key_rotation import RETIREMENT, KeyRing
from apps.users.keys import KeySeal
from apps.users.models import EmailRules
from apps.users.passwords import Passwords, common_passwords
from apps.users.refresh_tokens import SessionKeys
from apps.users.repository import Users
from apps.users.revocations import Revocations, publisher
from apps.users.session_repository import Sessions
from apps.users.settings import Settings
from contracts.keys import KeyRotated, PublicKeys
from contracts.revocations import SessionRevocation, UserRevocation
from contracts.sessions import SessionRevoked
from contracts.streams import PUBLIC_KEYS, REVOCATIONS, USER_EVENTS
from contracts.users import UserCreated, UserDeleted, UserUpdated
from kit.asyncapi.specification import ServiceSpecification
from kit.errors import COMMON_REFUSALS
from kit.ops.service import DatabaseService
from kit.runtime.app import ServiceApp
from kit.runtime.settings import load

REFUSALS = (
    *(CurrentPasswordRequired, EmailTaken, InvalidCredentials, InvalidRefreshToken, LastAdmin, PasswordChanged),
    *(PasswordTooCommon, RotationInProgress, SessionNotFound, SigningKeyNotFound),
    *(UserNotFound, VersionMismatch, WrongPassword),
)
MIGRATIONS = Path(__file__).with_name("migrations")


def create_app(settings: Settings, deps: Dependencies | None = None) -> ServiceApp:
    """Build the users service; nothing is connected before it starts. Tests pass fakes as `deps`."""
    service = DatabaseService(
        "users", settings, events=USER_EVENTS, states=(REVOCATIONS, PUBLIC_KEYS), migrations=MIGRATIONS
    )
    service.broker.include_routers(requests.router, session_requests.router, key_requests.router)
    limits = SessionLimits(
        idle=timedelta(days=settings.session_idle_days),
        longest=timedelta(days=settings.session_max_days),
        per_user=settings.max_sessions,
    )
    keys = KeyRing(
        partial(SigningKeys, service.pool),
        partial(SigningKeys, service.pool, autocommit=True),
        KeySeal(settings.jwt_secret),
        key_publication.publisher(service.broker),
        lifetime=timedelta(seconds=settings.access_token_seconds),
        times=KeyTimes(timedelta(seconds=settings.key_cache_seconds), RETIREMENT),
    )
    revocations = Revocations(partial(Sessions, service.pool), publisher(service.broker))

    @asynccontextmanager
    async def connect() -> AsyncIterator[Dependencies]:
        # Before the first request: loading the list takes longer than a request may take on a busy machine.
        await asyncio.to_thread(common_passwords)
        await keys.load()
        hasher = PasswordHasher(
            time_cost=settings.argon2_iterations,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
        )
        passwords = Passwords(hasher, threads=settings.password_threads)
        try:
            yield Dependencies(
                open_users=partial(Users, service.pool),
                read_users=partial(Users, service.pool, autocommit=True),
                passwords=passwords,
                keys=keys,
                session_keys=await asyncio.to_thread(SessionKeys, settings.jwt_secret),
                session_limits=limits,
                revocations=revocations,
                email_rules=EmailRules(test_domains=settings.app_env == "development"),
            )
        finally:
            passwords.close()

    specification = ServiceSpecification(
        "users",
        apps.users.__doc__,
        publishes=[
            UserCreated,
            UserUpdated,
            UserDeleted,
            SessionRevoked,
            SessionRevocation,
            UserRevocation,
            KeyRotated,
            PublicKeys,
        ],
        refusals=[*REFUSALS, *COMMON_REFUSALS],
    )
    return service.app(
        specification,
        connect,
        deps,
        background=[revocations.repetition, cleaner(partial(Users, service.pool), limits), keys],
        checks={"keys": keys.check},
    )


app = create_app(load(Settings))
