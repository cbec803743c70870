"""Settings of the gateway, read from the environment."""

from typing import Annotated, Literal

from pydantic import Field

from kit.runtime import settings
from kit.runtime.secrets import UrlSecret


class Settings(settings.ShardedSettings):
    """Settings of the gateway."""

    port: int = Field(
        3000, ge=0, le=65535, description="HTTP port for `mkstore up` and Compose; with `faststream run`, pass --port."
    )
    request_timeout: float = Field(2.0, gt=0, le=30, description="Seconds to wait for the reply of a service.")
    max_requests_in_flight: int = Field(
        1000, ge=2, description="Maximum concurrent requests per process; more get 503."
    )
    max_password_requests: int = Field(
        64, ge=1, description="Maximum concurrent requests per process that hash a password (sign-in, sign-up, change)."
    )
    max_event_streams: int = Field(1000, ge=1, description="Maximum open GET /events streams per process.")
    max_event_streams_per_caller: int = Field(
        10, ge=1, description="Maximum open GET /events streams per caller and process; more get 429."
    )
    max_replayed_events: int = Field(
        10_000, ge=1, description="Maximum stored events, of all users, that one Last-Event-ID makes the gateway read."
    )
    hsts_max_age: int = Field(
        0, ge=0, description="Seconds of Strict-Transport-Security; set it only behind TLS. 0 sends no such field."
    )
    cors_origins: str = Field(
        "", description="Origins whose pages may call the API, separated by commas; none by default."
    )
    documentation: Literal["open", "closed"] = Field(
        "open",
        description="Whether the gateway serves its documents, pages and problem types; closed: they answer 404.",
    )
    live_nats_url: Annotated[str, UrlSecret(required=False)] = Field(
        "",
        repr=False,
        description="NATS URL with the login watcher; enables live figures on /asyncapi (admins only in production).",
    )
    traces_url: Annotated[str, UrlSecret(required=False)] = Field(
        "",
        repr=False,
        description="URL of the receiver of `mkstore up`, with its token; enables /asyncapi/requests.",
    )
    live_nats_creds: str = Field(
        "", description="File with the login of the watcher, in place of a user in LIVE_NATS_URL; see NATS_CREDS."
    )
    live_payloads: bool = Field(False, description="Whether the live view also shows message payloads.")
    access_log: bool = Field(True, description="Whether to log a line per request, at log level INFO and below.")
    rate_limit_enabled: bool = Field(True, description="Whether rate limits apply; false for benchmarks.")
    rate_limit_storage: Annotated[str, UrlSecret(required=False)] = Field(
        "async+memory://",
        repr=False,
        description="Storage URI of the limits library; the default counts per process.",
    )
    rate_limit_caller: str = Field("3000/minute", description="Limit of requests per signed-in caller.")
    rate_limit_address: str = Field("12000/minute", description="Limit of requests per client address.")
    rate_limit_sign_up: str = Field("120/minute", description="Limit of POST /users per client address.")
    rate_limit_session: str = Field("240/minute", description="Limit of sign-ins and refreshes per client address.")
    rate_limit_email_change: str = Field("10/hour", description="Limit of email changes per signed-in caller.")
    rate_limit_account: str = Field(
        "10/day", description="Limit of wrong passwords per account and client address before each further one waits."
    )
    rate_limit_account_total: str = Field(
        "100/hour",
        description="Limit of wrong passwords per account from all addresses that its owner has not signed in from.",
    )
    guess_first_delay: int = Field(
        30, ge=1, description="Seconds to wait once RATE_LIMIT_ACCOUNT is used up; each wrong password doubles it."
    )
    guess_max_delay: int = Field(900, ge=1, description="Longest wait after a wrong password, in seconds.")

    @property
    def logs_requests(self) -> bool:
        """Whether requests are logged."""
        return self.access_log and self.log_level in {"DEBUG", "INFO"}

    def rate_limits(self) -> dict[str, str]:
        """Return the rate limits by name."""
        names = ("caller", "address", "sign_up", "session", "email_change")
        return {name: getattr(self, f"rate_limit_{name}") for name in names}
