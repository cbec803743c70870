"""PostgreSQL of the distribution, with TLS: the one of the wheel is built without OpenSSL."""

import asyncio
import re
import shutil
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kit.connection import connect
from mkstore.stack.servers import PostgresServer
from tests.support.polling import eventually

_PROGRAMS = Path("/usr/lib/postgresql")
_FILES = ("postgres.crt", "postgres.key", "ca.crt")
_RULES = """\
hostssl all certified 127.0.0.1/32 cert
hostssl all demanded 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostssl all all 127.0.0.1/32 scram-sha-256
"""
"""The login `certified` is its certificate; `demanded` needs a certificate and a password."""


class DebianPostgres(PostgresServer):
    """A server of Debian's package `postgresql` that accepts encrypted connections only, with these certificates.

    Without `certificates` it has no TLS.
    """

    def __init__(self, folder: Path, certificates: Path | None) -> None:
        super().__init__(folder)
        self._certificates = certificates

    def program(self, name: str) -> str:
        """Return the path of a program of the newest version. Raises `FileNotFoundError` if there is none."""
        versions = [path for path in _PROGRAMS.glob("*/bin") if re.fullmatch(r"\d+", path.parent.name)]
        if not versions:
            raise FileNotFoundError(f"{_PROGRAMS} has no server: install the package postgresql")
        return str(max(versions, key=lambda path: int(path.parent.name)) / name)

    def settings(self) -> dict[str, str]:
        """Return the server's parameters."""
        files = {"ssl_cert_file": "postgres.crt", "ssl_key_file": "postgres.key", "ssl_ca_file": "ca.crt"}
        return super().settings() | ({"ssl": "on", **files} if self._certificates else {})

    def prepare(self) -> None:
        """Create the data, with the certificates and the rules of access."""
        super().prepare()
        if self._certificates is not None:
            (self.data / "pg_hba.conf").write_text(_RULES)
            self.copy_certificates(self._certificates)

    def copy_certificates(self, folder: Path) -> None:
        """Replace the files of the server by those in `folder`; it reads them at the next reload."""
        for name in _FILES:
            shutil.copyfile(folder / name, self.data / name)
            (self.data / name).chmod(0o600)
            self.take_ownership(self.data / name)

    def url_of(self, database: str) -> str:
        """Return the address of a database, with the superuser's login and verified TLS if the server has it."""
        url = super().url_of(database)
        if self._certificates is None:
            return url
        return f"{url}?sslmode=verify-full&sslrootcert={self._certificates / 'ca.crt'}"

    async def administer(self, statement: str) -> None:
        """Run a statement as the superuser."""
        connection: asyncpg.Connection = await connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def running_server(certificates: Path | None) -> Iterator[DebianPostgres]:
    """Run a server in a folder that another user can reach: PostgreSQL does not run as root."""
    with tempfile.TemporaryDirectory(prefix="mkstore-") as folder:
        Path(folder).chmod(0o711)
        with DebianPostgres(Path(folder) / "postgres", certificates) as server:
            yield server


@asynccontextmanager
async def serving(server: DebianPostgres, certificates: Path, folder: Path) -> AsyncIterator[None]:
    """Let the server have the certificates in `folder` during the block."""
    # The superuser verifies the server: the connection that reloads it the second time must be open already.
    connection: asyncpg.Connection = await connect(server.url)
    try:
        await _reload(server, connection, folder)
        yield
    finally:
        await _reload(server, connection, certificates)
        await connection.close()


async def _reload(server: DebianPostgres, connection: asyncpg.Connection, folder: Path) -> None:
    """Let the server read certificates, and wait until new connections get them."""
    server.copy_certificates(folder)
    await connection.execute("SELECT pg_reload_conf()")

    async def is_served() -> bool:
        return await certificate_of(server) == in_file(folder / "postgres.crt")

    await eventually(is_served)


async def certificate_of(server: DebianPostgres) -> str:
    """Return the SHA-256 of the certificate that the server shows to a new connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(struct.pack("!ii", 8, 80877103))  # SSLRequest
    assert await reader.readexactly(1) == b"S"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await writer.start_tls(context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return sha256(found).hexdigest()


def in_file(path: Path) -> str:
    """Return the SHA-256 of the certificate in a file."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.fingerprint(hashes.SHA256()).hex()
