"""Settings from the environment, and the message for invalid ones."""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from contracts.logins import JETSTREAM_API
from contracts.shards import MAX_SHARDS
from kit.runtime.logging import LogFormat
from kit.runtime.secrets import DEVELOPMENT_SECRET, Secret, UrlSecret, secret_files
from kit.runtime.tls_settings import tls_problems

AnySettings = TypeVar("AnySettings", bound="Settings")


class Settings(BaseSettings):
    """Settings of every service; `.env.example` is generated from the subclasses."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    app_env: Literal["development", "production"] = Field(
        "development",
        description="In production, a missing, default or weak secret stops the start; emails under .test are refused.",
    )
    nats_url: Annotated[str, UrlSecret(unless=("NATS_CREDS", "NATS_CERT"))] = Field(
        "nats://127.0.0.1:4222",
        repr=False,
        description="NATS URL, nats:// or tls://; separate several with commas.",
    )
    nats_ca: str = Field(
        "",
        description="File with the certificates of the authorities of NATS, in PEM. With it, or with a tls:// address, "
        "a server without TLS is refused.",
    )
    nats_cert: str = Field("", description="File with a client certificate for NATS (mutual TLS), in PEM.")
    nats_key: str = Field("", description="File with the key of NATS_CERT, in PEM, without a passphrase.")
    nats_creds: str = Field(
        "",
        description="File with the login of NATS, in place of a user in NATS_URL: a .creds file, or the seed of a "
        "user's nkey.",
    )
    nats_api_prefix: str = Field(
        JETSTREAM_API,
        pattern=r"^[^\s.*>]+(\.[^\s.*>]+)*$",
        description="Prefix of JetStream's API. Accounts that import it, as deploy/nats-accounts.conf has them, use "
        "MKSTORE.API.",
    )
    nats_monitor_url: str = Field(
        "",
        description="URL of the NATS monitoring endpoint (http_port), to check that NATS syncs messages to disk; "
        "of a cluster several with commas.",
    )
    stream_replicas: int = Field(1, ge=1, le=5, description="Replicas of each stream; 3 in a cluster.")
    asyncapi_url: str = Field(
        "/asyncapi",
        description="URL of the AsyncAPI documents on the gateway; shown by `nats micro info`.",
    )
    otel_exporter_otlp_endpoint: str = Field(
        "",
        description="Base URL of the receiver of traces, OTLP over HTTP; empty: none are recorded. The other variables "
        "of OpenTelemetry's SDK apply too.",
    )
    otel_sdk_disabled: Annotated[bool, BeforeValidator(lambda value: value or False)] = Field(
        False, description="Record no traces, whatever else is set."
    )
    drain_seconds: float = Field(
        0.0,
        ge=0,
        le=300,
        description="Seconds from SIGTERM until a process stops to listen; it is not ready meanwhile, so that a load "
        "balancer sends its requests elsewhere.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of /metrics; 0: that of the service, and none in production.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address at which METRICS_PORT listens.")
    failpoints: str = Field(
        "", description="Folder watched for failpoint files, each of which crashes the process. Not for production."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Minimum log level.")
    log_format: LogFormat = Field(
        "console", description="Log format, one line per event: console for people, json for machines."
    )


class ShardedSettings(Settings):
    """Settings of what knows the shards of the payments."""

    shards: int = Field(
        1,
        ge=1,
        le=MAX_SHARDS,
        description="Shards of the payments, the same for all services; it cannot be changed later without moving "
        "payments (docs/scale.md).",
    )


class ProvisioningSettings(ShardedSettings):
    """Settings of `mkstore provision`, which NATS_URL gives an operator's login."""

    event_stream_bytes: int = Field(
        1 << 30,
        ge=1 << 20,
        description="Bytes reserved for each stream of events; when they are used, new events wait in the outbox.",
    )


class DatabaseSettings(Settings):
    """Settings of a service that owns a database; the subclass names it."""

    db_host: str = Field(
        "127.0.0.1", description="Database host; of a primary and its standbys several with commas, in any order."
    )
    db_port: str = Field(
        "5432", pattern=r"^[0-9]{1,5}(,[0-9]{1,5})*$", description="Database port, or one for each host, with commas."
    )
    db_copies: int = Field(
        1, ge=1, le=2, description="Copies of each commit; 2 with a standby: readiness warns while there is only one."
    )
    db_user: str = Field("postgres", description="Database user.")
    db_password: Annotated[SecretStr, Secret(unless=("DB_SSLCERT",))] = Field(
        SecretStr(DEVELOPMENT_SECRET), description="Database password."
    )
    db_sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "prefer",
        description="TLS with the database, in libpq's words. Only verify-full protects from a server that pretends to "
        "be the database; prefer encrypts if the server offers it.",
    )
    db_sslrootcert: str = Field(
        "", description="File with the certificates of the authorities of the database, in PEM."
    )
    db_sslcert: str = Field("", description="File with a client certificate for the database, in PEM.")
    db_sslkey: str = Field("", description="File with the key of DB_SSLCERT, in PEM, without a passphrase.")
    db_database: str
    outbox_lag_warning: float = Field(
        10.0, gt=0, description="Seconds an event may wait in the outbox before `/health/ready` shows a warning."
    )
    db_pool_size: int = Field(
        10,
        ge=1,
        le=200,
        description="Maximum database connections for requests and messages; checks and the relay use 3 more.",
    )


class ConsumerSettings(DatabaseSettings):
    """Settings of a service that consumes durable messages into its database."""

    delivery_attempts: int = Field(
        10, ge=1, le=1000, description="Delivery attempts before a failing message is dead-lettered."
    )
    delivery_first_delay: float = Field(
        0.2,
        gt=0,
        le=60,
        description="Seconds before the first redelivery of a failed message; each later delay is twice as long.",
    )
    delivery_max_delay: float = Field(30.0, gt=0, le=3600, description="Maximum delay between deliveries, in seconds.")
    delivery_failure_share: float = Field(
        0.5,
        gt=0,
        description="Share of failing messages at which a consumer pauses instead of dead-lettering them; 2: never.",
    )
    delivery_pause: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds of the first such pause; the next ones are longer, up to eight times as long.",
    )
    delivery_crashes: int = Field(
        5,
        ge=1,
        le=1000,
        description="Deaths of the process while it handles a redelivered message, before that is dead-lettered.",
    )
    inbox_keep_days: int = Field(
        8,
        ge=7,
        le=3650,
        description="Days that the inbox remembers handled messages; at least the 7 that streams keep.",
    )

    @model_validator(mode="after")
    def _max_delay_is_not_below_first(self) -> Self:
        if self.delivery_max_delay < self.delivery_first_delay:
            raise ValueError("DELIVERY_MAX_DELAY must not be shorter than DELIVERY_FIRST_DELAY.")
        return self


def load(settings: type[AnySettings]) -> AnySettings:
    """Read `settings` from the environment; each secret also from the file that `<NAME>_FILE` names.

    Raises `SystemExit`, with one line per invalid setting: its variable and the remedy. In production a missing,
    default or weak secret is invalid.
    """
    rules = {name: rule for name, field in settings.model_fields.items() if (rule := secret_rule(field))}
    source = EnvSettingsSource(settings)
    environ = {name.upper(): value for name, value in source.env_vars.items() if value is not None}
    values, problems = secret_files([name.upper() for name in rules], environ)
    in_files: dict[str, Any] = {name.lower(): value for name, value in values.items()}
    loaded: AnySettings | None = None
    try:
        loaded = settings(**in_files)
    except ValidationError as error:
        problems += [
            ": ".join([*(str(part).upper() for part in e["loc"]), e["msg"].removeprefix("Value error, ")])
            for e in error.errors(include_url=False, include_input=False)
        ]
    problems += tls_problems({name: value for name, value in environ.items() if name.lower() in settings.model_fields})
    problems += _problems_of_production(settings, rules, source() | in_files)
    if loaded is None or problems:
        raise SystemExit("\n".join(["Invalid configuration:", *problems]))
    return loaded


def secret_rule(field: FieldInfo) -> Secret | None:
    """Return the rule of a setting that is a secret; None for any other setting."""
    marks = [mark for mark in field.metadata if isinstance(mark, Secret)]
    return marks[0] if marks else Secret() if field.annotation is SecretStr else None


def _problems_of_production(settings: type[Settings], rules: dict[str, Secret], given: dict[str, Any]) -> list[str]:
    """Return a line for each of the `given` values that production refuses, also if others are invalid."""
    if given.get("app_env") != "production":
        return []
    problems = ["FAILPOINTS must not be set in production: unset it."] if given.get("failpoints") else []
    for name, rule in rules.items():
        replaced = any(given.get(other.lower()) for other in rule.unless)
        value = given.get(name, "" if replaced else settings.model_fields[name].default)
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if problem := rule.problem(name.upper(), text, required=not replaced):
            problems.append(problem)
    return problems
