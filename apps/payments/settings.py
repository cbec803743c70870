"""Settings of the payments service, read from the environment."""

from pydantic import Field

from kit.runtime.settings import ConsumerSettings


class Settings(ConsumerSettings):
    """Settings of the payments service."""

    db_database: str = Field("payments_db", description="Database of the payments service.")
    payment_limit: int = Field(
        999_999_999_999,
        ge=0,
        description="Maximum payment amount, in minor units; a larger payment is recorded as rejected.",
    )
