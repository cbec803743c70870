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
    remembered_keys: int = Field(
        1_000_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of Idempotency-Keys of payments that are remembered while this service is "
        "unavailable, for at most 24 hours; each takes about 455 bytes of NATS's memory.",
    )
