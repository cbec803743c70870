"""The names of NATS logins, and the subjects that depend on them."""

import re

WATCHER = "watcher"
"""The login that may only look at streams, consumers and statistics, such as for the portal's live figures."""
OPERATOR = "operator"
"""The login that creates streams and consumers, and repairs them."""

JETSTREAM_API = "$JS.API"
"""The prefix of JetStream's API in the account that has the streams."""
IMPORTED_API = "MKSTORE.API"
"""The prefix of the requests of that API which the account of a service imports (ADR 29)."""


def inbox_prefix(service: str) -> str:
    """Return the prefix of the service's reply subjects, which only this service may subscribe to."""
    return f"_INBOX.{re.sub(r'[^A-Za-z0-9_-]+', '-', service)}"
