"""What the gateway reads from the environment."""

from pydantic import Field

from kit.runtime import settings


class Settings(settings.Settings):
    """The gateway's settings."""

    port: int = Field(
        3000, ge=0, le=65535, description="Where `mkstore up` and Compose let it listen; `faststream run` takes --port."
    )
    request_timeout: float = Field(2.0, gt=0, le=30, description="Seconds that a service has for its answer.")
    max_requests_in_flight: int = Field(
        1000, ge=2, description="So many requests are served at once in one process; more are refused with 503."
    )
    max_password_requests: int = Field(
        64, ge=1, description="Likewise, so many with a password: sign-ins, sign-ups and changes."
    )
    max_event_streams: int = Field(1000, ge=1, description="Likewise, so many open GET /events.")
    max_body_bytes: int = Field(1 << 20, ge=1, description="Longer request bodies are refused.")
    live_nats_url: str = Field(
        "",
        repr=False,
        description="NATS with a login that may see all: shows on /asyncapi what goes on now, in production to admins.",
    )
    live_payloads: bool = Field(
        False, description="Whether that shows what messages say, and not only how they are built."
    )
    rate_limit_enabled: bool = Field(True, description="Limits per caller and per address; false for a benchmark.")
    rate_limit_storage: str = Field(
        "async+memory://",
        description="Where the limits are counted; each process for itself, or in a store of the limits library.",
    )
    rate_limit_caller: str = Field("3000/minute", description="Requests of one signed-in caller.")
    rate_limit_address: str = Field("12000/minute", description="Requests from one address.")
    rate_limit_sign_up: str = Field("120/minute", description="POST /users from one address.")
    rate_limit_token: str = Field("240/minute", description="POST /auth/token from one address.")
    rate_limit_account: str = Field("10/minute", description="Failed sign-ins to one account from one address.")

    def rate_limits(self) -> dict[str, str]:
        """Return the limits by name."""
        return {
            name: getattr(self, f"rate_limit_{name}") for name in ("caller", "address", "sign_up", "token", "account")
        }
