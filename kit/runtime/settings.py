"""What every service reads from the environment, and how it says that something there is wrong."""

from typing import Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kit.runtime.logging import LogFormat

DEVELOPMENT_SECRET = "for-development-only"  # noqa: S105 - it guards nothing: production refuses it
"""What a secret is when nobody gave one."""

AnySettings = TypeVar("AnySettings", bound="Settings")


class Settings(BaseSettings):
    """The settings that every service has; `.env.example` is generated from its subclasses."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    app_env: Literal["development", "production"] = Field(
        "development", description="In production a missing or default secret stops the start."
    )
    nats_url: str = Field("nats://127.0.0.1:4222", description="Where NATS is; several addresses with commas between.")
    nats_monitor_url: str = Field(
        "", description="Where NATS's monitoring answers (its http_port): it alone tells whether messages are synced."
    )
    stream_replicas: int = Field(
        1, ge=1, le=5, description="On how many NATS servers each stream is kept; 3 in a cluster."
    )
    asyncapi_url: str = Field(
        "/asyncapi",
        description="Where the documents of the messages are read, which `nats micro info` tells: at the gateway.",
    )
    failpoints: str = Field(
        "", description="A folder: a file there names a point at which the process dies. For proofs; not in production."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least that is logged.")
    log_format: LogFormat = Field("console", description="One line a fact: console for people, json for machines.")

    @model_validator(mode="after")
    def _production_has_secrets(self) -> Self:
        if self.app_env == "production":
            if self.failpoints:
                raise ValueError("FAILPOINTS must not be set in production.")
            for name, value in self:
                if isinstance(value, SecretStr) and value.get_secret_value() in {"", DEVELOPMENT_SECRET}:
                    raise ValueError(f"{name.upper()} must be set to a secret of your own in production.")
        return self


class DatabaseSettings(Settings):
    """The settings of a service that owns a database; the subclass says which."""

    db_host: str = Field("127.0.0.1", description="Where PostgreSQL is.")
    db_port: int = Field(5432, ge=1, le=65535, description="Its port.")
    db_user: str = Field("postgres", description="Who the service is to it.")
    db_password: SecretStr = Field(SecretStr(DEVELOPMENT_SECRET), description="And how it proves that.")
    db_database: str
    outbox_lag_warning: float = Field(
        10.0, gt=0, description="Seconds for which an event may wait to be sent, until `/health/ready` warns of it."
    )
    db_pool_size: int = Field(10, ge=1, le=200, description="At most so many connections per process.")


class ConsumerSettings(DatabaseSettings):
    """The settings of a service that takes durable messages into its database."""

    delivery_attempts: int = Field(
        10, ge=1, le=1000, description="So often a message is tried that keeps failing, before it is a dead letter."
    )
    delivery_first_pause: float = Field(
        0.2,
        gt=0,
        le=60,
        description="Seconds until a message that failed is tried again; each later pause is twice as long.",
    )
    delivery_longest_pause: float = Field(
        30.0, gt=0, le=3600, description="And no pause is longer than so many seconds."
    )
    inbox_keep_days: int = Field(
        8, ge=7, le=3650, description="For so many days it is remembered which messages were handled; streams keep 7."
    )

    @model_validator(mode="after")
    def _the_longest_pause_is_not_shorter(self) -> Self:
        if self.delivery_longest_pause < self.delivery_first_pause:
            raise ValueError("DELIVERY_LONGEST_PAUSE must not be shorter than DELIVERY_FIRST_PAUSE.")
        return self


def load(settings: type[AnySettings]) -> AnySettings:
    """Read `settings` from the environment; what is wrong there ends the process with a sentence for each variable."""
    try:
        return settings()
    except ValidationError as error:
        sentences = [
            ": ".join([*(str(part).upper() for part in e["loc"]), e["msg"].removeprefix("Value error, ")])
            for e in error.errors(include_url=False, include_input=False)
        ]
        raise SystemExit("The environment is not as it must be. " + " ".join(sentences)) from None
