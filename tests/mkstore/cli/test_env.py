"""`mkstore env`: .env.example lists every variable of the settings classes."""

from pathlib import Path
from typing import Literal

import pytest
import typer
from pydantic import Field, SecretStr
from typer.testing import CliRunner

from apps.gateway.settings import Settings as Gateway
from apps.payments.settings import Settings as Payments
from apps.users.settings import Settings as Users
from kit.runtime.settings import ProvisioningSettings, Settings
from mkstore import generated
from mkstore.cli import env
from mkstore.cli.env import PATH, example


class Shop(Settings):
    """A service's settings."""

    colour: Literal["red", "green"] = Field("red", description="Of the door.")
    key: SecretStr = Field(SecretStr("for-development-only"), description="To the door.")
    street: str = Field(description="Where the door is.")


class Kiosk(Settings):
    """Another's."""

    open_at_night: bool = Field(False, description="Whether one may come late.")


def mkstore(*arguments: str, root: Path | None = None) -> tuple[int, str]:
    command = typer.Typer()
    command.command()(env.command(root))
    done = CliRunner().invoke(command, arguments)
    return done.exit_code, done.output


def test_committed_file_matches_the_settings() -> None:
    assert mkstore("--check") == (0, "")


@pytest.mark.parametrize("settings", [Gateway, Users, Payments, ProvisioningSettings])
def test_every_variable_is_listed_with_a_description(settings: type[Settings]) -> None:
    lines = (generated.ROOT / PATH).read_text("utf-8").splitlines()
    for name, field in settings.model_fields.items():
        assert field.description
        assert any(line.startswith((f"#{name.upper()}=", f"{name.upper()}=")) for line in lines)


def test_defaults_are_comments_and_secrets_are_hidden() -> None:
    text = example({"shop": Shop, "kiosk": Kiosk})
    assert "# Of the door. One of: red, green.\n#COLOUR=red\n" in text
    assert "\n#KEY=\n" in text
    assert "production refuses the default" in text
    assert "for-development-only" not in text
    assert "# Where the door is.\nSTREET=\n" in text
    assert "#OPEN_AT_NIGHT=false\n" in text


def test_shared_variables_come_first_and_once() -> None:
    text = example({"shop": Shop, "kiosk": Kiosk})
    headings = [line.strip("#- ") for line in text.splitlines() if line.startswith("# ----")]
    assert headings == ["Every service", "Shop", "Kiosk"]
    assert text.count("NATS_URL=") == 1
    assert text.index("NATS_URL=") < text.index("---- Shop")


def test_check_names_the_file_and_writes_nothing(tmp_path: Path) -> None:
    code, output = mkstore("--check", root=tmp_path)
    assert (code, list(tmp_path.iterdir())) == (1, [])
    assert ".env.example is missing" in output
    assert mkstore(root=tmp_path) == (0, ".env.example\n")
    assert mkstore("--check", root=tmp_path) == (0, "")
