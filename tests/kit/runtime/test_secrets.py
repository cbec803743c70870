"""Secrets of a service: what production refuses, the files they may stand in, and where they never show."""

import secrets
from pathlib import Path

import pytest
from pydantic import ValidationError

from apps.gateway.settings import Settings as Gateway
from apps.payments.settings import Settings as Payments
from apps.users.settings import Settings as Users
from contracts.users import CreateUser
from kit.runtime.secrets import UnreadableSecret, with_secret_files
from kit.runtime.settings import load, secret_rule
from mkstore.services import SECRET_VARIABLES

GOOD = secrets.token_hex(32)
NATS_URL = f"nats://users:{GOOD}@nats:4222"
PRODUCTION = {"APP_ENV": "production", "JWT_SECRET": GOOD, "DB_PASSWORD": GOOD, "NATS_URL": NATS_URL}


@pytest.fixture(autouse=True)
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of a service in production."""
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)


def refusal(settings: type[Users | Gateway] = Users) -> list[str]:
    """Return the lines that say why the settings are refused."""
    with pytest.raises(SystemExit) as refused:
        load(settings)
    heading, *lines = str(refused.value).splitlines()
    assert heading == "Invalid configuration:"
    return lines


def test_production_starts_with_good_secrets() -> None:
    assert load(Users).jwt_secret.get_secret_value() == GOOD


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("JWT_SECRET", "", "is missing"),
        ("JWT_SECRET", "for-development-only", "is the default"),
        ("JWT_SECRET", "x" * 31, "has 31 characters"),
        ("JWT_SECRET", "ab" * 32, "repeats the same few characters"),
        ("DB_PASSWORD", "", "is missing"),
        ("DB_PASSWORD", "For-Development-Only-1", "is the default"),
        ("DB_PASSWORD", "short", "has 5 characters"),
        ("NATS_URL", "nats://nats:4222", "The password in NATS_URL is missing"),
        ("NATS_URL", "nats:4222", "The password in NATS_URL is missing"),
        ("NATS_URL", "nats://users:for-development-only@nats:4222", "The password in NATS_URL is the default"),
        ("NATS_URL", f"{NATS_URL},nats://users:x@two:4222", "The password in NATS_URL has 1 characters"),
        ("NATS_URL", "nats://users:secret@[nats", "NATS_URL is not a URL"),
        ("FAILPOINTS", "points", "FAILPOINTS must not be set"),
    ],
)
def test_production_refuses_a_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str) -> None:
    monkeypatch.setenv(name, value)
    (line,) = refusal()
    assert reason in line
    assert name in line
    assert value in {"", "short"} or value not in line


@pytest.mark.parametrize("name", ["LIVE_NATS_URL", "RATE_LIMIT_STORAGE"])
def test_production_refuses_a_default_password_in_an_address(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "nats://watcher:for-development-only@nats:4222")
    assert [name in line for line in refusal(Gateway)] == [True]


def test_everything_that_is_wrong_is_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JWT_SECRET", "DB_PASSWORD", "NATS_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("DB_PORT", "none")
    monkeypatch.setenv("DB_HOST_FILE", "/nothing")  # not a secret
    lines = refusal()
    assert [line.partition(":")[0] for line in lines] == [
        "DB_PORT",
        "The password in NATS_URL is missing",
        "DB_PASSWORD is the default",
        "JWT_SECRET is the default",
    ]


def test_development_accepts_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PRODUCTION:
        monkeypatch.delenv(name)
    assert load(Users).app_env == "development"


@pytest.mark.parametrize("name", ["JWT_SECRET", "DB_PASSWORD", "NATS_URL"])
def test_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{PRODUCTION[name]}\n")
    monkeypatch.setenv(name, "")  # as Compose passes a variable that is not set
    monkeypatch.setenv(f"{name}_FILE", str(file))
    settings = load(Users)
    assert (settings.jwt_secret.get_secret_value(), settings.db_password.get_secret_value()) == (GOOD, GOOD)
    assert settings.nats_url == NATS_URL
    file.write_text("for-development-only")
    assert len(refusal()) == 1


def test_file_and_variable_together_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JWT_SECRET_FILE", str(tmp_path))
    assert refusal() == ["JWT_SECRET and JWT_SECRET_FILE are both set: unset one of them."]


def test_unreadable_file_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("APP_ENV", "development")
    monkeypatch.delenv("JWT_SECRET")
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "empty").touch()
    reasons = {"missing": "No such file", ".": "Is a directory", "binary": "not text in UTF-8", "empty": "is empty"}
    for name, reason in reasons.items():
        monkeypatch.setenv("JWT_SECRET_FILE", str(tmp_path / name))
        (line,) = refusal()
        assert line.startswith(f"JWT_SECRET_FILE: {tmp_path / name}")
        assert reason in line


def test_operator_commands_read_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("nats://one\n")
    environ = {"NATS_URL_FILE": str(tmp_path / "url"), "PORT": "1"}
    assert with_secret_files(["NATS_URL", "DB_PASSWORD"], environ) == {"NATS_URL": "nats://one", "PORT": "1"}
    with pytest.raises(UnreadableSecret, match="both set"):
        with_secret_files(["NATS_URL"], {**environ, "NATS_URL": "nats://two"})


def test_operator_commands_know_every_secret() -> None:
    fields = {name: field for settings in (Users, Payments, Gateway) for name, field in settings.model_fields.items()}
    assert {name.upper() for name, field in fields.items() if secret_rule(field)} == set(SECRET_VARIABLES)


def test_representation_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIVE_NATS_URL", "RATE_LIMIT_STORAGE"):
        monkeypatch.setenv(name, f"redis://:{GOOD}@host")
    for settings in (load(Users), load(Gateway)):
        assert GOOD not in repr(settings) + str(settings)


def test_validation_error_shows_no_input() -> None:
    with pytest.raises(ValidationError) as in_contract:
        CreateUser.model_validate({"email": "not-an-email", "password": ["a-secret-password"]})
    with pytest.raises(ValidationError) as in_settings:
        Users(jwt_secret=["a-secret-password"])
    for error in (in_contract, in_settings):
        assert "a-secret-password" not in str(error.value)
        assert "input_value" not in str(error.value)
