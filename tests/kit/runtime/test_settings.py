"""What is wrong in the environment ends the process with a sentence that names the variable."""

import pytest

from kit.runtime.settings import ConsumerSettings, load


class Shop(ConsumerSettings):
    db_database: str = "shop"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DELIVERY_ATTEMPTS", "0", "DELIVERY_ATTEMPTS: "),
        ("DELIVERY_FIRST_PAUSE", "0", "DELIVERY_FIRST_PAUSE: "),
        ("DELIVERY_LONGEST_PAUSE", "0.1", "DELIVERY_LONGEST_PAUSE must not be shorter than DELIVERY_FIRST_PAUSE"),
    ],
)
def test_retries_are_bounded(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=sentence):
        load(Shop)
