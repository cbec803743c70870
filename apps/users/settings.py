"""Settings of the users service, read from the environment."""

from typing import Annotated

from pydantic import Field, SecretStr

from kit.runtime.secrets import DEVELOPMENT_SECRET, Secret
from kit.runtime.settings import DatabaseSettings
from kit.tokens import MAX_LIFETIME


class Settings(DatabaseSettings):
    """Settings of the users service.

    The minimum values for argon2 are those that OWASP recommends for argon2id.
    """

    db_database: str = Field("users_db", description="Database of the users service.")
    jwt_secret: Annotated[SecretStr, Secret(min_length=32)] = Field(
        SecretStr(DEVELOPMENT_SECRET),
        description="Encrypts the private keys that sign access tokens, stored in the users database.",
    )
    access_token_seconds: int = Field(
        900, ge=60, le=int(MAX_LIFETIME.total_seconds()), description="Lifetime of an access token, in seconds."
    )
    key_cache_seconds: int = Field(
        300,
        ge=2,
        le=86_400,
        description="Seconds for which a new signing key is published before it signs: as long as a verifier may cache "
        "the public keys.",
    )
    password_threads: int = Field(0, ge=0, le=64, description="Threads that hash passwords; 0: one per processor.")
    argon2_memory_kib: int = Field(
        19_456, ge=19_456, le=1 << 20, description="Memory per password hash, in KiB (argon2 m)."
    )
    argon2_iterations: int = Field(2, ge=2, le=100, description="Iterations per password hash (argon2 t).")
    argon2_parallelism: int = Field(1, ge=1, le=16, description="Parallelism per password hash (argon2 p).")
    session_idle_days: int = Field(
        30, ge=1, le=365, description="Days after which a session ends that was not refreshed."
    )
    session_max_days: int = Field(180, ge=1, le=3650, description="Days after which a session ends in any case.")
    max_sessions: int = Field(
        100, ge=1, le=1000, description="Sessions of one user; the least recently used one ends above it."
    )
