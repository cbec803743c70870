"""Invalid settings end the process with a message that names the variable."""

import pytest

from kit.runtime.settings import ConsumerSettings, Settings, load


class Shop(ConsumerSettings):
    db_database: str = "shop"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DELIVERY_ATTEMPTS", "0", "DELIVERY_ATTEMPTS: "),
        ("DELIVERY_FIRST_DELAY", "0", "DELIVERY_FIRST_DELAY: "),
        ("DELIVERY_MAX_DELAY", "0.1", "DELIVERY_MAX_DELAY must not be shorter than DELIVERY_FIRST_DELAY"),
    ],
)
def test_invalid_retry_settings_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=sentence):
        load(Shop)


@pytest.mark.parametrize(("value", "disabled"), [("", False), ("false", False), ("TRUE", True)])
def test_empty_variable_of_opentelemetry_counts_as_not_set(
    monkeypatch: pytest.MonkeyPatch, value: str, disabled: bool
) -> None:
    """As the specification of OpenTelemetry's environment variables says."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    assert load(Settings).otel_sdk_disabled is disabled
