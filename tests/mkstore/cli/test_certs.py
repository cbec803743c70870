"""`mkstore certs`: an authority and certificates that verify, are kept, and are renewed."""

import ipaddress
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from typer.testing import CliRunner

from mkstore.cli.main import app
from mkstore.services import SERVICES

_CLIENTS = [*(spec.name for spec in SERVICES), "operator"]
_NAMES = ["ca", "nats", "postgres", *_CLIENTS]


def make(folder: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["certs", str(folder), *options], env={"COLUMNS": "200"})
    return done.exit_code, done.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "certs"
    code, output = make(folder)
    assert code == 0, output
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def is_of(folder: Path, server: str, host: str) -> bool:
    """Return whether a server with the certificate is `host` to who trusts the folder's authority."""
    builder = PolicyBuilder().store(Store([certificate(folder, "ca")]))
    try:
        name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    try:
        builder.build_server_verifier(name).verify(certificate(folder, server), [])  # type: ignore[arg-type]
    except VerificationError:
        return False
    return True


def test_folder_has_a_pair_for_each_part(folder: Path) -> None:
    assert sorted(contents(folder)) == sorted(f"{name}.{kind}" for name in _NAMES for kind in ("crt", "key"))


def test_keys_are_readable_by_their_owner_only(folder: Path) -> None:
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("server", ["nats", "postgres"])
def test_servers_have_the_names_of_compose_and_of_the_loopback(folder: Path, server: str) -> None:
    assert all(is_of(folder, server, host) for host in (server, "localhost", "127.0.0.1", "::1"))
    assert not is_of(folder, server, "example.com")
    assert not is_of(folder, "users", "users")  # a client's certificate is not one of a server


def test_clients_have_the_names_of_their_logins(folder: Path) -> None:
    verifier = PolicyBuilder().store(Store([certificate(folder, "ca")])).build_client_verifier()
    for name in _CLIENTS:
        found = certificate(folder, name)
        assert verifier.verify(found, []).subjects == [x509.DNSName(name)]
        assert found.subject.rfc4514_string() == f"CN={name}"


def test_nothing_is_replaced_without_renew(folder: Path) -> None:
    before = contents(folder)
    code, output = make(folder)
    assert code == 1
    assert output == f"{folder}/ca.crt exists: renew its certificates with --renew, or use another folder.\n"
    assert contents(folder) == before


def test_renewed_certificates_have_other_keys_and_the_same_names(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make(folder, "--names", "nats.example, 10.0.0.7")
    before = contents(folder)
    code, output = make(folder, "--renew", "--days", "7")
    assert code == 0, output
    after = contents(folder)
    assert {name for name in before if before[name] == after[name]} == {"ca.crt", "ca.key"}
    assert all(is_of(folder, "nats", host) for host in ("nats", "nats.example", "10.0.0.7"))
    assert certificate(folder, "nats").not_valid_after_utc - datetime.now(UTC) < timedelta(days=7)


def test_certificate_of_a_new_service_is_made_by_renewal(folder: Path) -> None:
    """`mkstore new service` adds one later."""
    for kind in ("crt", "key"):
        (folder / f"payments.{kind}").unlink()
    code, output = make(folder, "--renew")
    assert code == 0, output
    assert certificate(folder, "payments").issuer == certificate(folder, "ca").subject


def test_written_files_are_listed_with_their_modes(tmp_path: Path) -> None:
    code, output = make(tmp_path / "certs", "--json")
    rows: list[dict[str, Any]] = json.loads(output)
    assert code == 0
    assert {row["mode"] for row in rows if row["file"].endswith(".key")} == {"600"}
    assert len(rows) == 2 * len(_NAMES)


@pytest.mark.parametrize(
    ("fault", "options", "sentence"),
    [
        ("none", ["--renew"], "ca.crt cannot be read: No such file or directory."),
        ("damaged", ["--renew"], "are not an authority: restore them, or use a new folder."),
        ("none", ["--names", "näts"], "'näts' is neither a host name in ASCII nor an address."),
        ("file", [], "cannot be written: File exists."),
    ],
)
def test_what_cannot_be_made_is_one_sentence(tmp_path: Path, fault: str, options: list[str], sentence: str) -> None:
    folder = tmp_path / "certs"
    match fault:
        case "damaged":
            make(folder)
            (folder / "ca.key").write_text("no key")
        case "file":
            folder.write_text("")
    code, output = make(folder, *options)
    assert code == 1
    assert output.endswith(f"{sentence}\n")
    assert output.count("\n") == 1
