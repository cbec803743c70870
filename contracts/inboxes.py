"""The subjects of replies."""

import re

WATCHER = "watcher"
"""The login that may only look at streams, consumers and statistics, such as for the portal's live figures."""


def inbox_prefix(service: str) -> str:
    """Return the prefix of the service's reply subjects, which only this service may subscribe to."""
    return f"_INBOX.{re.sub(r'[^A-Za-z0-9_-]+', '-', service)}"
