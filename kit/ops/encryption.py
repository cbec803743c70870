"""A warning if production uses NATS or PostgreSQL over a network without TLS."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from kit.errors import HealthWarning
from kit.ops.health import Check
from kit.runtime.client_security import ClientSecurity
from kit.runtime.settings import DatabaseSettings, Settings

_UNPROTECTED = {"disable", "prefer"}
"""With `prefer`, an attacker in between can answer that there is no TLS."""


def checks(settings: Settings) -> dict[str, Check]:
    """Return the check of a process in production, none elsewhere.

    It is a warning and does not stop the start: a private or encrypted network, such as WireGuard or a service mesh,
    protects the connections too, and the process cannot see it.
    """

    async def check() -> None:
        if sentences := list(_unencrypted(settings)):
            raise HealthWarning(" ".join(sentences))

    return {"encryption": check} if settings.app_env == "production" else {}


def _unencrypted(settings: Settings) -> Iterator[str]:
    servers = [each.strip() for each in settings.nats_url.split(",")]
    if not ClientSecurity.of(settings).requires_tls(servers):
        hosts = [urlsplit(each if "://" in each else f"nats://{each}").hostname or "" for each in servers]
        if remote := [host for host in hosts if not _is_local(host)]:
            yield f"Connections to NATS at {', '.join(remote)} need no TLS: set NATS_CA."
    if (
        isinstance(settings, DatabaseSettings)
        and settings.db_sslmode in _UNPROTECTED
        and not all(_is_local(host.strip()) for host in settings.db_host.split(","))
    ):
        yield f"Connections to PostgreSQL at {settings.db_host} need no TLS: set DB_SSLMODE to verify-full."


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A path is the folder of a Unix socket.
        return host == "localhost" or host.startswith("/")
