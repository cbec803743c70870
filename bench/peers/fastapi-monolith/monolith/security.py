"""Password hashes and access tokens."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from fastapi import Depends, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jose import JWTError, jwt

from monolith.models import User
from monolith.settings import settings

_ALGORITHM = "HS256"
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)  # those of apps/users/settings.py
_bearer = HTTPBearer()


async def hash_password(password: str) -> str:
    """Hash a password on a thread."""
    return await run_in_threadpool(_hasher.hash, password)


async def password_matches(stored: str, password: str) -> bool:
    """Verify a password on a thread."""
    try:
        return await run_in_threadpool(_hasher.verify, stored, password)
    except VerifyMismatchError:
        return False


def sign(user: User) -> str:
    """Return an access token for `user`."""
    expires = datetime.now(UTC) + timedelta(minutes=settings.access_token_minutes)
    claims = {"sub": str(user.id), "role": user.role, "exp": expires}
    return str(jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm=_ALGORITHM))


async def _caller(credentials: Annotated[HTTPAuthorizationCredentials, Depends(_bearer)]) -> UUID:
    try:
        claims = jwt.decode(credentials.credentials, settings.jwt_secret.get_secret_value(), algorithms=[_ALGORITHM])
        return UUID(claims["sub"])
    except (JWTError, KeyError, ValueError):
        raise HTTPException(401, "The access token is invalid.") from None


Caller = Annotated[UUID, Depends(_caller)]
"""The id of the user whose access token the request has."""
