"""How a connection to NATS is encrypted, and a login in a file beside one in the address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from kit.errors import CannotStart
from kit.runtime.nkeys import FileLogin
from kit.runtime.settings import Settings
from kit.runtime.tls import ReloadedContext, TlsFiles
from kit.runtime.tls_settings import NATS_FILES, tls_files

NO_FILES = TlsFiles("", "", "", NATS_FILES)


class TlsRefused(CannotStart):
    """TLS fails with every server, which no further attempt changes; the message has a sentence for each."""


class LoginRefused(CannotStart):
    """NATS refuses the user or the password, which no further attempt changes."""

    def __init__(self, *, in_file: bool = False) -> None:
        repair = "set NATS_CREDS to a file of its user" if in_file else "correct the user and the password in NATS_URL"
        super().__init__(f"NATS refuses the login: {repair}.")


@dataclass(frozen=True)
class ClientSecurity:
    """Certificates and a login of connections to NATS; `variables` name the addresses and the login, for messages.

    `creds` is the path of a .creds file or of an nkey seed; empty if the login stands in the address.
    """

    files: TlsFiles = NO_FILES
    creds: str = ""
    variables: tuple[str, str] = ("NATS_URL", "NATS_CREDS")

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings of a service name."""
        return cls(
            TlsFiles(settings.nats_ca, settings.nats_cert, settings.nats_key, NATS_FILES), creds=settings.nats_creds
        )

    @classmethod
    def in_environment(cls, environ: Mapping[str, str]) -> Self:
        """Return what the variables of an environment name."""
        return cls(tls_files(environ, NATS_FILES), creds=environ.get("NATS_CREDS") or "")

    def requires_tls(self, servers: Sequence[str]) -> bool:
        """Return whether a server without TLS is refused: certificates are set, or an address begins with tls://."""
        return bool(self.files.ca or self.files.cert) or any(each.strip().startswith("tls://") for each in servers)

    def options(self) -> dict[str, Any]:
        """Return the options of nats-py's `connect`. Raises `OSError` if a file cannot be used."""
        options: dict[str, Any] = {}
        if self.files.ca or self.files.cert:
            options["tls"] = ReloadedContext(self.files)
        return options

    def login(self) -> FileLogin | None:
        """Return the login in a file. Raises `OSError`, or `NotALogin` if there is none in it."""
        return FileLogin.read(self.creds) if self.creds else None
