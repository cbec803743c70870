"""The names in the committed AsyncAPI documents, and the addresses of the portal that show them."""

import json
from typing import Any

from tests.support.portal_host import DOCUMENTS

SYSTEM: dict[str, Any] = json.loads((DOCUMENTS / "mkstore.json").read_bytes())
MESSAGES = sorted(SYSTEM["components"]["messages"])
STREAMS = [
    *("DEAD_LETTERS", "KEYED_PAYMENT_COMMANDS", "PAYMENT_COMMANDS", "PAYMENT_EVENTS", "PUBLIC_KEYS", "REVOCATIONS"),
    "USER_EVENTS",
]
SERVICES = ["gateway", "mkstore", "payments", "users"]
ADDRESSES = {
    *("/docs", "/asyncapi", "/asyncapi/messages", "/llms.txt", "/asyncapi/mkstore.json"),
    *(f"/asyncapi/{service}{form}" for service in SERVICES for form in ("", ".json", ".yaml", "/reference")),
    *(f"/asyncapi/messages/{name}{form}" for name in MESSAGES for form in ("", ".md")),
    *(f"/asyncapi/streams/{stream}" for stream in STREAMS),
}
"""The addresses that pages may link to."""
