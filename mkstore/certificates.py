"""An authority and its certificates, for development, tests and small installations: `mkstore certs`.

Keys are ECDSA on P-256. A server's certificate has host names and addresses, a client's the name of its login.
"""

import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY = "ca"
"""Name of the authority's files."""
OPERATOR = "operator"
"""Name of the operator's files."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")

_CLOCK_SKEW = timedelta(minutes=5)
_PRIVATE, _PUBLIC = 0o600, 0o644


class CannotIssue(Exception):
    """The certificates cannot be made; the message is one sentence for the operator."""


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for: the name of its files, and host names or addresses if it is a server.

    Servers that form a cluster are `also_client`, for the connections between them.
    """

    name: str
    hosts: tuple[str, ...] = ()
    also_client: bool = False

    @property
    def alternatives(self) -> list[x509.GeneralName]:
        """The names that a peer compares: those of a server, or the login of a client."""
        return [_general_name(host) for host in dict.fromkeys(self.hosts or (self.name,))]


@dataclass(frozen=True)
class Authority:
    """An authority: its certificate, and the key that signs those of servers and clients."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, days: int) -> Self:
        """Create an authority that is valid for a number of days."""
        now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
        name = _name(f"mkstore authority {secrets.token_hex(4)}")  # two authorities with one name would be confused
        builder = (
            _builder(name, name, key.public_key(), now)
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the authority in `folder`. Raises `CannotIssue`."""
        files = [folder / f"{AUTHORITY}.crt", folder / f"{AUTHORITY}.key"]
        try:
            certificate = x509.load_pem_x509_certificate(files[0].read_bytes())
            key = serialization.load_pem_private_key(files[1].read_bytes(), password=None)
        except OSError as error:
            raise CannotIssue(f"{error.filename} cannot be read: {error.strerror}.") from error
        except (ValueError, TypeError) as error:
            raise CannotIssue(
                f"{files[0]} and {files[1]} are not an authority: restore them, or use a new folder."
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CannotIssue(f"{files[1]} is not of `mkstore certs`: use the tool that has made it.")
        return cls(certificate, key)

    def issue(self, subject: Subject, days: int, *, at: datetime | None = None) -> tuple[bytes, bytes]:
        """Return the certificate of a subject and its new key, in PEM, valid for at most a number of days.

        `at` is the time of issue, now by default. Raises `CannotIssue` if the authority has expired then.
        """
        now, until = at or datetime.now(UTC), self.certificate.not_valid_after_utc
        if until <= now:
            raise CannotIssue(f"The authority has expired at {until:%Y-%m-%d}: make another one in a new folder.")
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.SERVER_AUTH] if subject.hosts else []
        if subject.also_client or not subject.hosts:
            uses.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        builder = (
            _builder(self.certificate.subject, _name(subject.name), key.public_key(), now)
            .not_valid_after(min(until, now + timedelta(days=days)))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(subject.alternatives), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return _pem(builder.sign(self.key, hashes.SHA256())), _pem_key(key)


def subjects(services: Iterable[str], hosts: Sequence[str] = ()) -> list[Subject]:
    """Return the subjects of a store: both servers with `hosts` and their names in Compose, services and operator."""
    servers = [
        Subject("nats", ("nats", *LOOPBACK, *hosts), also_client=True),
        # Not a client: its name would be that of the superuser.
        Subject("postgres", ("postgres", *LOOPBACK, *hosts)),
    ]
    return [*servers, *(Subject(name) for name in (*services, OPERATOR))]


def create(folder: Path, subjects: Sequence[Subject], *, days: int, authority_days: int) -> list[Path]:
    """Write an authority and a certificate for each subject to `folder`; return the files.

    Raises `CannotIssue` if one of them exists: nothing is replaced.
    """
    names = [AUTHORITY, *(subject.name for subject in subjects)]
    for file in (folder / f"{name}.{kind}" for name in names for kind in ("crt", "key")):
        if file.exists():
            raise CannotIssue(f"{file} exists: renew its certificates with --renew, or use another folder.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = Authority.create(authority_days)
    files = _write(folder, AUTHORITY, _pem(authority.certificate), _pem_key(authority.key))
    return files + _issue(folder, authority, subjects, days)


def renew(folder: Path, subjects: Sequence[Subject], *, days: int) -> list[Path]:
    """Replace the certificate and the key of each subject under the authority in `folder`; return the files.

    A server keeps the names that its certificate had. Raises `CannotIssue`.
    """
    authority = Authority.read(folder)
    kept = [replace(each, hosts=(*each.hosts, *_hosts_in(folder, each))) if each.hosts else each for each in subjects]
    return _issue(folder, authority, kept, days)


def _issue(folder: Path, authority: Authority, subjects: Iterable[Subject], days: int) -> list[Path]:
    return [file for each in subjects for file in _write(folder, each.name, *authority.issue(each, days))]


def _write(folder: Path, name: str, certificate: bytes, key: bytes) -> list[Path]:
    """Replace both files; a reader never sees a partial one."""
    files = [folder / f"{name}.crt", folder / f"{name}.key"]
    for file, content, mode in zip(files, (certificate, key), (_PUBLIC, _PRIVATE), strict=True):
        staging = file.with_name(f"{file.name}.new")
        staging.unlink(missing_ok=True)
        staging.touch(mode=mode)
        staging.write_bytes(content)
    for file in files:
        file.with_name(f"{file.name}.new").replace(file)
    return files


def _hosts_in(folder: Path, subject: Subject) -> list[str]:
    file = folder / f"{subject.name}.crt"
    try:
        names = x509.load_pem_x509_certificate(file.read_bytes()).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except FileNotFoundError:
        return []
    except (ValueError, x509.ExtensionNotFound) as error:
        raise CannotIssue(f"{file} is damaged: remove it, and name its hosts with --names.") from error
    return [
        *names.value.get_values_for_type(x509.DNSName),
        *map(str, names.value.get_values_for_type(x509.IPAddress)),
    ]


def _builder(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise CannotIssue(f"{host!r} is neither a host name in ASCII nor an address.") from error


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
