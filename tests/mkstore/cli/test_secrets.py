"""`mkstore secrets`: the files from which every part of a production deployment reads its secrets."""

import importlib
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kit.runtime.settings import ProvisioningSettings, Settings, load
from mkstore.cli.main import app
from mkstore.services import SECRET_VARIABLES, SERVICES
from mkstore.stack.servers.nats import nats_server_program
from tests.conftest import ROOT


def make(folder: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["secrets", str(folder), *options])
    return done.exit_code, done.output


@pytest.fixture
def made(tmp_path: Path) -> Path:
    strict = os.umask(0o077)
    try:
        code, output = make(tmp_path / "secrets")
    finally:
        os.umask(strict)
    assert code == 0, output
    return tmp_path / "secrets"


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def settings_of(holder: str) -> type[Settings]:
    if holder == "provision":
        return ProvisioningSettings
    settings: type[Settings] = importlib.import_module(f"apps.{holder}.settings").Settings
    return settings


@pytest.mark.parametrize("holder", [*(spec.name for spec in SERVICES), "provision"])
def test_production_accepts_the_secrets_of_each_part(made: Path, holder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRET_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("APP_ENV", "production")
    for file in (made / holder).iterdir():
        assert file.name.lower() in settings_of(holder).model_fields
        monkeypatch.setenv(f"{file.name}_FILE", str(file))
    assert load(settings_of(holder)).nats_url.endswith("@nats:4222")


def test_nats_accepts_the_passwords(made: Path) -> None:
    environment = {file.name: file.read_text() for file in (made / "nats").iterdir()}
    command = [nats_server_program(), "-t", "-c", str(ROOT / "deploy/nats.conf")]
    done = subprocess.run(command, env={"PATH": os.defpath, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_both_sides_of_a_login_have_the_same_password(made: Path) -> None:
    files = contents(made)
    users = files["nats/NATS_USERS_PASSWORD"].strip('"')
    assert files["users/NATS_URL"] == f"nats://users:{users}@nats:4222"
    assert files["users/DB_PASSWORD"] == files["postgres/USERS_DB_PASSWORD"]
    passwords = [text for path, text in files.items() if path.startswith(("nats/", "postgres/"))]
    assert len(set(passwords)) == len(passwords)


def test_only_the_owner_can_enter_the_folder_and_containers_can_read_a_file(made: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made.rglob("*") if path.is_file()} == {0o444}
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o755}


def test_files_that_exist_are_kept_and_missing_ones_added(made: Path) -> None:
    before = contents(made)
    (made / "users/NATS_URL").unlink()
    assert make(made) == (0, f"{made / 'users/NATS_URL'}\n")
    assert contents(made) == before
    assert make(made) == (0, f"All secrets exist already in {made}.\n")


def test_address_of_nats_is_an_option(tmp_path: Path) -> None:
    make(tmp_path / "secrets", "--nats", "nats.nats.svc:4222")
    assert (tmp_path / "secrets/gateway/LIVE_NATS_URL").read_text().endswith("@nats.nats.svc:4222")


def test_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    code, output = make(tmp_path / "open")
    assert code == 1
    assert "repair it with `chmod 700`" in " ".join(output.split())
    assert contents(tmp_path / "open") == {}


def test_half_of_a_login_is_refused(made: Path) -> None:
    (made / "nats/NATS_USERS_PASSWORD").unlink()
    code, output = make(made)
    assert code == 1
    assert "NATS_USERS_PASSWORD does not: restore it, or remove both." in " ".join(output.split())


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, output = make(tmp_path / "file" / "secrets")
    assert code == 1
    assert "cannot be written: Not a directory." in " ".join(output.split())
