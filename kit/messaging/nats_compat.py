"""Every use of a private name of nats-py, with the version that it was checked with and the reason.

Checked with nats-py 2.16.0. No upstream issues known; tests/kit/messaging covers every function.
"""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, NamedTuple

from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, ConnectionReconnectingError, MaxPayloadError
from nats.js import JetStreamContext
from structlog.stdlib import get_logger

from kit.runtime.client_security import ClientSecurity, TlsRefused
from kit.runtime.nkeys import FileLogin, NotALogin
from kit.runtime.tls import TlsFailed

log = get_logger(__name__)

_CLOSE_TIMEOUT = 2.0
_PIECE = 512 * 1024
_HEADER_FRAME = len(b"NATS/1.0\r\n\r\n")


def server_id(client: Client) -> str:
    """Return the id of the server that the client is connected to; empty if it has none.

    Reason: the client keeps the server's INFO and publishes only parts of it.
    """
    return str(getattr(client, "_server_info", {}).get("server_id", ""))


def next_message_subject(subscription: Any) -> str:
    """Return the API subject on which a pull subscription requests messages.

    Reason: the subject includes the API prefix of the JetStream context, which only the subscription knows.
    """
    return str(subscription._nms)  # noqa: SLF001


def api_subject(jetstream: JetStreamContext, request: str) -> str:
    """Return the subject of a request to JetStream's API, such as `DIRECT.GET.PAYMENT_EVENTS`.

    Reason: only the context knows the prefix of the API.
    """
    return f"{jetstream._prefix}.{request}"  # noqa: SLF001


def client_of(jetstream: JetStreamContext) -> Client:
    """Return the connection of a JetStream context.

    Reason: what reads a stream needs both, and a context has exactly one connection.
    """
    return jetstream._nc  # noqa: SLF001


def jetstream_of(message: Msg) -> JetStreamContext:
    """Return JetStream on the connection that a message arrived on.

    Reason: a middleware is given the message and not the connection.
    """
    return message._client.jetstream()  # noqa: SLF001


class SecureClient(Client):
    """A client with the certificates and the login of `security`, whose failed handshakes are `TlsFailed`.

    Reason: nats-py encrypts only if the server asks for it. To a server that offers no TLS, such as one that an
    attacker has put in between, it sends the login unencrypted, whatever its option `tls` contains. And it repeats
    a first attempt that cannot succeed for as long as it repeats others.
    """

    def __init__(self, security: ClientSecurity | None = None) -> None:
        super().__init__()
        self._security = security or ClientSecurity()
        self._requires_tls = False
        self._servers = 1
        self._refusals: dict[str, str] = {}
        self._has_connected = False
        self._login: FileLogin | None = None

    async def connect(self, servers: str | list[str], **options: Any) -> None:  # type: ignore[override]  # passed on
        """Connect, as nats-py does.

        Raises `TlsRefused` if TLS fails with each of the servers, `OSError` or `NotALogin` if a file cannot be used,
        and nats-py's errors.
        """
        servers = [servers] if isinstance(servers, str) else servers
        self._servers, self._requires_tls = len(servers), self._security.requires_tls(servers)
        options |= self._security.options()
        self._login = self._security.login()
        try:
            await super().connect(servers, **options)
        except BaseException:  # also a cancelled one
            if self._flush_queue is not None:  # an attempt was made: its socket would stay open
                await self._close(Client.DISCONNECTED, do_cbs=False)
            raise

    async def _connect_to_server(self, s: Srv) -> None:
        """Connect to a server. The connection of an attempt that has failed is closed: nats-py only drops it."""
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(s)

    def _connect_command(self) -> bytes:
        """Return the CONNECT of a new connection, with the login of the file, which is read again for each."""
        try:
            self._login = self._security.login()
        except (OSError, NotALogin) as error:
            log.warning("a login is not read again", reason=str(error), file=self._security.creds)
        if self._login is not None:
            self._auth_configured = True
            self._public_nkey = self._login.key.public
            self._signature_cb = self._login.key.sign
            self._user_jwt_cb = self._login.jwt.encode if self._login.jwt else None
        command: bytes = super()._connect_command()
        return command

    async def _process_connect_init(self) -> None:
        variable, _ = self._security.variables
        address = self._address()
        try:
            await super()._process_connect_init()
        except TlsFailed as error:
            self._refuse(address, error)
            raise
        except OSError as error:
            if (reason := await self._tls_error(error)) is None:
                raise
            failure = self._security.files.failure(reason, f"NATS at {address}", variable)
            self._refuse(address, failure)
            raise failure from error
        self._has_connected = True
        self._tell_asyncio()

    def _tell_asyncio(self) -> None:
        """Mark the streams of an encrypted connection, as asyncio does for its own; else it warns when they end."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None and writer.get_extra_info("ssl_object") is not None:
            writer.transport.get_protocol()._over_ssl = True  # noqa: SLF001

    async def _tls_error(self, error: OSError) -> ssl.SSLError | None:
        """Return the error of TLS that has ended the connection.

        With TLS 1.3 the server refuses a client's certificate after the handshake. Then asyncio reports a lost
        connection when the client writes, and the server's alert only when it waits for the end.
        """
        if isinstance(error, ssl.SSLError):
            # asyncio has closed the transport. Its stream never learns of that: waiting for its end would take forever.
            self._transport = None
            return error
        if isinstance(error, ConnectionError) and self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self._transport.wait_closed()  # type: ignore[no-untyped-call]
            except ssl.SSLError as alert:
                return alert
            except (OSError, TimeoutError):
                pass
        return None

    def _refuse(self, address: str, error: TlsFailed) -> None:
        """Raise `TlsRefused` if the first connection has failed so with every server."""
        self._refusals[address] = str(error)
        if not self._has_connected and len(self._refusals) >= self._servers:
            raise TlsRefused(" ".join(self._refusals.values())) from error

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Handle the server's INFO, which precedes the login."""
        if initial_connection and self._requires_tls and not info.get("tls_required"):
            variable, _ = self._security.variables
            raise TlsFailed(
                f"NATS at {self._address()} does not require TLS, and this client does: enable `tls` in the server's "
                f"configuration, or set {variable} to a server with TLS."
            )
        await super()._process_info(info, initial_connection)

    def _address(self) -> str:
        """Return the host and the port of the server of the current attempt."""
        return self._current_server.uri.netloc.rpartition("@")[2] if self._current_server else ""


class RawMessage(NamedTuple):
    """A message to publish: its subject, its headers, valid as they are, and its body."""

    subject: str
    headers: dict[str, str]
    body: bytes


async def publish_together(client: Client, messages: Iterable[RawMessage]) -> None:
    """Publish messages in one piece, or several of `_PIECE` bytes, in their order.

    Raises nats-py's errors: `MaxPayloadError`, and `ConnectionClosedError` or `ConnectionReconnectingError` without a
    connection, so that nothing waits in the client's buffer for a reconnect. As with `publish`, what was handed to the
    connection may still be lost with it.

    Reason: `publish` validates and encodes each header and wakes the flusher for each message. Without that the
    relay needs half the processor time per event (ADR 22).
    """
    if client.is_closed:
        raise ConnectionClosedError
    piece = bytearray()
    for subject, headers, body in messages:
        if not client.is_connected or client.is_draining_pubs:
            raise ConnectionReconnectingError
        if len(body) > client.max_payload:
            raise MaxPayloadError
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        length = len(head) + _HEADER_FRAME
        piece += b"HPUB %s %d %d\r\nNATS/1.0\r\n%s\r\n%s\r\n" % (
            subject.encode(),
            length,
            length + len(body),
            head,
            body,
        )
        client.stats["out_msgs"] += 1
        client.stats["out_bytes"] += len(body)
        if len(piece) >= _PIECE:
            await client._send_command(bytes(piece))  # noqa: SLF001 - waits for the socket above the pending limit
            piece.clear()
    await client._send_command(bytes(piece))  # noqa: SLF001
    await client._flush_pending()  # noqa: SLF001


async def drain(subscription: Subscription) -> None:
    """Unsubscribe, and wait until every message that the server sent before is handed to the callback.

    Reason: `Subscription.drain` writes its PING ahead of its UNSUB, which waits in a buffer. A message that arrives
    between the PONG and the end of the subscription is dropped without a trace. The first flush here empties that
    buffer, and the PONG of the second one follows the last message.
    """
    client: Client = subscription._conn  # noqa: SLF001
    await client._send_unsubscribe(subscription._id)  # noqa: SLF001
    for _ in range(2):
        await client.flush()
    await subscription.drain()  # type: ignore[no-untyped-call]
