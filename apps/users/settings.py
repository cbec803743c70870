"""What the environment says."""

from pydantic import Field, SecretStr

from kit.runtime.settings import DEVELOPMENT_SECRET, DatabaseSettings
from kit.tokens import LONGEST


class Settings(DatabaseSettings):
    """The users service's settings; `.env.example` is generated from this class.

    The floors of argon2 are OWASP's minimum for argon2id.
    """

    db_database: str = Field("users_db", description="The users service's own database.")
    jwt_secret: SecretStr = Field(
        SecretStr(DEVELOPMENT_SECRET),
        description="Seals the private keys that sign access tokens, which are kept in the users database.",
    )
    access_token_seconds: int = Field(
        900, ge=60, le=int(LONGEST.total_seconds()), description="How long an access token is good."
    )
    password_threads: int = Field(
        0, ge=0, le=64, description="Passwords that are hashed at once; 0: as many as there are processors."
    )
    argon2_memory_kib: int = Field(19_456, ge=19_456, le=1 << 20, description="Memory of one password hash, in KiB.")
    argon2_iterations: int = Field(2, ge=2, le=100, description="Passes of one password hash over its memory.")
    argon2_parallelism: int = Field(1, ge=1, le=16, description="Lanes of one password hash.")
