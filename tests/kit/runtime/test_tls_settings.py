"""Settings of TLS: what cannot work stops the start with one sentence, which names the variable and the repair."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from kit.runtime.settings import ConsumerSettings, load
from tests.support.certificates import new_certificates
from tests.support.nats_logins import new_seed, write_seed

_GOOD = "c4f1b6e3a59d7280"


class Shop(ConsumerSettings):
    db_database: str = "shop"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = new_certificates(tmp_path / "certs")
    (folder / "empty").touch()
    (folder / "text").write_text("no certificate")
    key = load_pem_private_key((folder / "users.key").read_bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))
    (folder / "encrypted.key").write_bytes(encrypted)
    write_seed(folder / "users.nk", new_seed()[1])
    return folder


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"NATS_CA": "absent"}, "NATS_CA: {0}/absent cannot be read: No such file or directory."),
        ({"NATS_CA": "empty"}, "NATS_CA: {0}/empty is empty."),
        ({"NATS_CA": "text"}, "NATS_CA: {0}/text has no certificate in PEM: write the authority's into it."),
        ({"NATS_CERT": "users.crt"}, "NATS_CERT and NATS_KEY belong together: set both, or neither."),
        ({"NATS_KEY": "users.key"}, "NATS_CERT and NATS_KEY belong together: set both, or neither."),
        (
            {"NATS_CERT": "users.crt", "NATS_KEY": "gateway.key"},
            (
                "NATS_CERT: {0}/users.crt has another key than NATS_KEY: {0}/gateway.key: use the two files of one "
                "certificate."
            ),
        ),
        (
            {"NATS_CERT": "users.crt", "NATS_KEY": "encrypted.key"},
            "NATS_KEY: {0}/encrypted.key is encrypted: write it without a passphrase, for the service only.",
        ),
        (
            {"NATS_CERT": "text", "NATS_KEY": "users.key"},
            "NATS_CERT: {0}/text and NATS_KEY: {0}/users.key are not a certificate and its key in PEM.",
        ),
        ({"DB_SSLCERT": "users.crt"}, "DB_SSLCERT and DB_SSLKEY belong together: set both, or neither."),
        (
            {"DB_SSLMODE": "verify-full"},
            "DB_SSLMODE is verify-full: set DB_SSLROOTCERT to the file with the server's authority.",
        ),
        (
            {"DB_SSLROOTCERT": "ca.crt"},
            "DB_SSLROOTCERT is not used when DB_SSLMODE is prefer: set DB_SSLMODE to verify-full.",
        ),
        ({"NATS_CREDS": "absent"}, "NATS_CREDS: {0}/absent cannot be read: No such file or directory."),
        (
            {"NATS_CREDS": "text"},
            "NATS_CREDS: {0}/text is neither a .creds file nor the seed of a user's nkey (SU...).",
        ),
        (
            {"NATS_CREDS": "users.nk", "NATS_URL": "nats://users:secret@nats:4222"},
            "NATS_CREDS and a user in NATS_URL are two logins: remove one of them.",
        ),
    ],
)
def test_what_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, folder: Path, values: dict[str, str], sentence: str
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value if name in {"DB_SSLMODE", "NATS_URL"} else str(folder / value))
    with pytest.raises(SystemExit) as refused:
        load(Shop)
    assert str(refused.value).splitlines() == ["Invalid configuration:", sentence.format(folder)]


def test_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_SSLMODE", "always")
    with pytest.raises(SystemExit, match="DB_SSLMODE: Input should be 'disable', 'prefer', 'require'"):
        load(Shop)


def test_certificates_and_logins_in_files_replace_passwords_in_production(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("NATS_URL", "tls://nats:4222")
    monkeypatch.setenv("NATS_CREDS", str(folder / "users.nk"))
    for name, file in {"DB_SSLROOTCERT": "ca.crt", "DB_SSLCERT": "users.crt", "DB_SSLKEY": "users.key"}.items():
        monkeypatch.setenv(name, str(folder / file))
    monkeypatch.setenv("DB_SSLMODE", "verify-full")
    assert load(Shop).nats_creds
    monkeypatch.delenv("NATS_CREDS")
    with pytest.raises(SystemExit, match="The password in NATS_URL is missing"):
        load(Shop)


def test_weak_password_is_refused_beside_a_certificate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("NATS_URL", "tls://users:short@nats:4222")
    monkeypatch.setenv("NATS_CERT", str(folder / "users.crt"))
    monkeypatch.setenv("NATS_KEY", str(folder / "users.key"))
    monkeypatch.setenv("DB_PASSWORD", _GOOD)
    with pytest.raises(SystemExit, match="The password in NATS_URL has 5 characters"):
        load(Shop)
