"""What the environment says to the payments service."""

from pydantic import Field

from kit.runtime.settings import ConsumerSettings


class Settings(ConsumerSettings):
    """The payments service's settings."""

    db_database: str = Field("payments_db", description="The payments service's own database.")
    payment_limit: int = Field(
        999_999_999_999,
        ge=0,
        description="The largest amount, in minor units, that is created; a payment over it is recorded as rejected.",
    )
