"""What must not be in a log: passwords, tokens, and emails of users."""

import re
from collections.abc import Iterable

from mkstore.chaos.ledger import PASSWORD
from mkstore.testing.signed_in import PASSWORD as IN_MEMORY

_NEVER = re.compile(
    "|".join(
        [
            re.escape(PASSWORD),
            re.escape(IN_MEMORY),
            r"[\w.+-]+@example\.\w+",  # every email of a test
            r"\beyJ[\w-]{10,}\.[\w-]{10,}",  # a token (RFC 7519)
            r"Bearer [\w.-]{20,}",
            r"://[^:/\s@]+:[^@/\s]+@",  # a URL with a password
        ]
    )
)


def logged_secrets(text: str, others: Iterable[str] = ()) -> list[str]:
    """Return the lines that have a secret, one of `others` included."""
    others = [other for other in others if len(other) >= 8]
    return [line for line in text.splitlines() if _NEVER.search(line) or any(other in line for other in others)]
