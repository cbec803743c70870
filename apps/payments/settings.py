"""Settings of the payments service, read from the environment."""

from typing import Self

from pydantic import Field, model_validator

from contracts.shards import Shard
from kit.runtime.settings import ConsumerSettings, ShardedSettings


class Settings(ConsumerSettings, ShardedSettings):
    """Settings of the payments service."""

    shard: int = Field(
        0, ge=0, description="Number of this process's shard, 0 to SHARDS - 1; each has a separate DB_DATABASE."
    )
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

    @model_validator(mode="after")
    def _shard_exists(self) -> Self:
        if self.shard >= self.shards:
            raise ValueError("SHARD must be below SHARDS.")
        return self

    def own_shard(self) -> Shard:
        """Return the shard of this process."""
        return Shard(self.shard, self.shards)
