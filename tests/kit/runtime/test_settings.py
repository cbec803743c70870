"""Invalid settings end the process with a message that names the variable."""

import pytest

from kit.runtime.settings import ConsumerSettings, load


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
