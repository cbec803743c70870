"""TLS of the connections to NATS and PostgreSQL: certificate files, and one sentence for each failure."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from structlog.stdlib import get_logger

log = get_logger(__name__)

_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME = {62, 64}
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
"""Values of `verify_code`, see openssl-verification-options."""


class TlsFailed(ConnectionError):
    """TLS with a server failed; the message is one sentence for the operator, with the variable and the repair.

    It is an `OSError`: while a service runs, the server counts as unavailable.
    """


@dataclass(frozen=True)
class TlsFiles:
    """Files in PEM for the connections to one server: authorities, and a client certificate with its key.

    Empty paths are files that are not set. `variables` are the names of the three settings, for messages.
    """

    ca: str
    cert: str
    key: str
    variables: tuple[str, str, str]

    def problems(self) -> list[str]:
        """Return a sentence for each file that cannot be used, with its variable; none if TLS can be tried."""
        of_ca, of_cert, of_key = self.variables
        paths = {of_ca: self.ca, of_cert: self.cert, of_key: self.key}
        if unreadable := [f"{name}: {path} {fault}." for name, path in paths.items() if (fault := _fault(path))]:
            return unreadable
        if bool(self.cert) != bool(self.key):
            return [f"{of_cert} and {of_key} belong together: set both, or neither."]
        problems = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca:
                context.load_verify_locations(self.ca)
        except ssl.SSLError:
            problems.append(f"{of_ca}: {self.ca} has no certificate in PEM: write the authority's into it.")
        try:
            if self.cert:
                context.load_cert_chain(self.cert, self.key, password="")
        except ssl.SSLError as error:
            if _is_encrypted(self.key):
                problems.append(
                    f"{of_key}: {self.key} is encrypted: write it without a passphrase, for the service only."
                )
            else:
                problems.append(_problem_of_pair(error, f"{of_cert}: {self.cert}", f"{of_key}: {self.key}"))
        return problems

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies the server and its name; without `ca` by the authorities of the system.

        Raises `OSError` if a file cannot be used; `ssl.SSLError` is one.
        """
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.cert:
            context.load_cert_chain(self.cert, self.key, password="")  # an encrypted key would ask the terminal
        return context

    def failure(self, error: ssl.SSLError, server: str, variable: str) -> TlsFailed:
        """Return what `error` of a handshake means; `server` is such as `NATS at nats:4222`, named by `variable`."""
        of_ca, of_cert, of_key = self.variables
        reason = error.reason or str(error)
        if isinstance(error, ssl.SSLCertVerificationError):
            return TlsFailed(_verification(error, server, variable, of_ca, ca=self.ca))
        if "CERTIFICATE_REQUIRED" in reason:
            return TlsFailed(f"{server} requires a client certificate: set {of_cert} and {of_key}.")
        if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "DECRYPT")):
            if not self.cert:
                return TlsFailed(f"{server} requires a client certificate: set {of_cert} and {of_key}.")
            return TlsFailed(
                f"{server} refuses the certificate in {of_cert}, which has expired or is of another authority: renew "
                "it, such as by `mkstore certs --renew`."
            )
        if "WRONG_VERSION_NUMBER" in reason or "HTTP" in reason:
            return TlsFailed(f"{server} does not speak TLS: set {variable} to a server with TLS.")
        return TlsFailed(f"TLS with {server} failed ({reason.lower().replace('_', ' ')}).")


class ReloadedContext(ssl.SSLContext):
    """A client's context that reads its files again when they have changed, so that renewal needs no restart.

    Files that cannot be used, such as a certificate whose key is not written yet, are logged, and the previous ones
    stay in use.
    """

    def __new__(cls, files: TlsFiles) -> Self:  # noqa: ARG004 - the signature of __init__
        """Create it; the protocol is that of each context of the files."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._version = _version(files)
        self._current = files.context()

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a handshake with the current files; asyncio and uvloop call this for each connection."""
        if (version := _version(self._files)) != self._version:
            try:
                self._current, self._version = self._files.context(), version
            except OSError as error:
                log.warning("certificates are not read again", reason=str(error), files=self._files.variables)
        return self._current.wrap_bio(*arguments, **options)


def _version(files: TlsFiles) -> list[tuple[int, int] | None]:
    """Return the identity of each file's content: a renewed file is another inode, or has another time."""
    versions: list[tuple[int, int] | None] = []
    for path in (files.ca, files.cert, files.key):
        try:
            found = Path(path).stat() if path else None
        except OSError:
            found = None
        versions.append((found.st_ino, found.st_mtime_ns) if found else None)
    return versions


def _fault(path: str) -> str:
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            return "" if file.read(1) else "is empty"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _problem_of_pair(error: ssl.SSLError, cert: str, key: str) -> str:
    reason = error.reason or ""
    if "KEY_VALUES_MISMATCH" in reason:
        return f"{cert} has another key than {key}: use the two files of one certificate."
    detail = f" ({reason.lower().replace('_', ' ')})" if reason else ""
    return f"{cert} and {key} are not a certificate and its key in PEM{detail}."


def _is_encrypted(key: str) -> bool:
    """Return whether a key has a passphrase; OpenSSL's error does not always say it."""
    return b"ENCRYPTED" in Path(key).read_bytes()


def _verification(error: ssl.SSLCertVerificationError, server: str, variable: str, of_ca: str, *, ca: str) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return (
            f"The certificate of {server} has expired: renew it, such as by `mkstore certs --renew`, and reload the "
            "server."
        )
    if code == _NOT_YET_VALID:
        return f"The certificate of {server} is not valid yet: compare the clocks of both machines."
    if code in _OTHER_NAME:
        return (
            f"The certificate of {server} has another name: set {variable} to a name that it has, or make one with "
            "this name, such as by `mkstore certs --names`."
        )
    if code in _UNKNOWN_AUTHORITY:
        if not ca:
            return f"The certificate of {server} is of an authority that is unknown: set {of_ca} to its certificate."
        return f"The certificate of {server} is not of the authority in {of_ca}: set {of_ca} to that of this server."
    return f"The certificate of {server} is refused: {error.verify_message}."
