"""The security log: sign-ins, refusals and changes of rights, among the other log lines, with the key `security`.

The names and the fields are closed lists, and each field has one form: no email, password or token can get in.
See docs/adr/0030-secrets-and-security-log.md.
"""

import logging
from ipaddress import ip_address
from typing import Literal, get_args
from uuid import UUID

from structlog.stdlib import get_logger

SecurityEvent = Literal[
    "sign-in",
    "sign-in-refused",
    "throttled",
    "session-revoked",
    "refresh-reuse",
    "role-changed",
    "key-rotated",
    "key-withdrawn",
]
SECURITY_EVENTS: tuple[SecurityEvent, ...] = get_args(SecurityEvent)

_WARNINGS = frozenset({"sign-in-refused", "throttled", "refresh-reuse", "key-withdrawn"})
"""Events that may be an attack, or the answer to one."""

_LOGGER = "mkstore.security"
logging.getLogger(_LOGGER).setLevel(logging.INFO)  # its own level: LOG_LEVEL=ERROR does not hide an attack
log = get_logger(_LOGGER)


def security_event(
    name: SecurityEvent, *, user: UUID | None = None, session: UUID | None = None, address: str = ""
) -> None:
    """Write one event; the id of the current request is added as to each log line.

    `user` and `session` are whom it is about, `address` is the client's; what is not known is left out. An `address`
    that is none is written as `unknown`. Raises `ValueError` for another name, `TypeError` for an id of another type.
    """
    if name not in SECURITY_EVENTS:
        raise ValueError("There is no such security event.")
    fields: dict[str, str] = {}
    for field, value in (("user", user), ("session", session)):
        if value is not None:
            if not isinstance(value, UUID):
                raise TypeError(f"The {field} of a security event is a UUID.")
            fields[field] = str(value)
    if address:
        fields["address"] = _form_of(address)
    write = log.warning if name in _WARNINGS else log.info
    write("security event", security=name, **fields)


def _form_of(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:  # a proxy may name anything
        return "unknown"
