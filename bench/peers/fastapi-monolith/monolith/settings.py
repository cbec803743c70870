"""Settings from the environment."""

from pydantic import PostgresDsn, SecretStr
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    """Address of the database, and the secret that signs access tokens."""

    database_url: PostgresDsn
    jwt_secret: SecretStr
    access_token_minutes: int = 15


settings = Settings()
