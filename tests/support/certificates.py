"""Certificates of tests, as `mkstore certs` makes them, and such that a peer must refuse."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from kit.runtime.client_security import ClientSecurity
from kit.runtime.tls import TlsFiles
from kit.runtime.tls_settings import NATS_FILES
from mkstore import certificates
from mkstore.certificates import Authority, Subject
from mkstore.services import SERVICES
from mkstore.stack.servers import ServerTls

NAMES = [spec.name for spec in SERVICES]


def new_certificates(folder: Path) -> Path:
    """Make an authority and its certificates in a new folder, and return it."""
    certificates.create(folder, certificates.subjects(NAMES), days=30, authority_days=30)
    return folder


def replace_certificate(folder: Path, subject: Subject, *, expired: bool = False) -> None:
    """Replace the certificate of a subject, by one that is valid or expired yesterday."""
    at = datetime.now(UTC) - timedelta(days=2) if expired else None
    certificate, key = Authority.read(folder).issue(subject, 1, at=at)
    (folder / f"{subject.name}.crt").write_bytes(certificate)
    (folder / f"{subject.name}.key").write_bytes(key)


def nats_server_tls(folder: Path) -> ServerTls:
    """Return the files of a nats-server."""
    return ServerTls(folder / "nats.crt", folder / "nats.key", folder / "ca.crt")


def nats_client(folder: Path, client: str = "users", *, authority: Path | None = None) -> ClientSecurity:
    """Return the files of a client in `folder`, or without a certificate if `client` is empty."""
    cert, key = (str(folder / f"{client}.{kind}") if client else "" for kind in ("crt", "key"))
    return ClientSecurity(TlsFiles(str((authority or folder) / "ca.crt"), cert, key, NATS_FILES))
