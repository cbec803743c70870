"""What the documents tell of, and where the portal shows it."""

import json
from typing import Any

from portal.documents import FOLDER

WHOLE: dict[str, Any] = json.loads((FOLDER / "mkstore.json").read_bytes())
MESSAGES = sorted(WHOLE["components"]["messages"])
STREAMS = ["DEAD_LETTERS", "PAYMENT_COMMANDS", "PAYMENT_EVENTS", "USER_EVENTS"]
SERVICES = ["gateway", "mkstore", "payments", "users"]
KNOWN = {
    *("/docs", "/asyncapi", "/asyncapi/messages", "/llms.txt", "/asyncapi/mkstore.json"),
    *(f"/asyncapi/{service}{form}" for service in SERVICES for form in ("", ".json", "/reference")),
    *(f"/asyncapi/messages/{name}{form}" for name in MESSAGES for form in ("", ".md")),
    *(f"/asyncapi/streams/{stream}" for stream in STREAMS),
}
"""Where pages may lead."""
