"""The golden messages of new parts: as a running store would have recorded them."""

import json
import uuid
from collections.abc import Mapping

from mkstore.new.plan import Draft

ID = "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"
VERSION = 2
OWN_FIELDS = {"id": ID, "version": VERSION}
"""Body of an event that has no fields in common with another one."""
_EVENT = "user.created"


def add_event(draft: Draft, service: str, subject: str, like: str | None) -> None:
    """Add the golden message of an event; `like` is the subject of one with the same fields.

    Raises `CannotChange` if that one has no golden message.
    """
    original = like or _EVENT
    golden = json.loads(draft.read(_path(draft, original)).replace(original, subject))
    message_id = str(uuid.uuid5(uuid.NAMESPACE_URL, subject))
    golden["headers"] |= {"Nats-Msg-Id": message_id, "ce-id": message_id, "ce-source": f"mkstore/{service}"}
    if like is None:
        golden["headers"] |= {"ce-subject": ID, "ce-aggregateversion": str(VERSION)}
        golden["body"] = OWN_FIELDS
    _create(draft, subject, golden)


def add_request(draft: Draft, subject: str, body: Mapping[str, str], reply: Mapping[str, str]) -> None:
    """Add the golden messages of a request and its reply."""
    headers = {"content-type": "application/json", "correlation_id": str(uuid.uuid5(uuid.NAMESPACE_URL, subject))}
    inbox = "_INBOX.Xke63HZxFhGzgM4dJ4tKsw.Xke63HZxFhGzgM4dJ4tMEV6e9d"
    _create(draft, subject, {"subject": subject, "headers": headers, "body": body})
    _create(draft, f"{subject}.reply", {"subject": inbox, "headers": headers, "body": reply})


def _create(draft: Draft, name: str, golden: Mapping[str, object]) -> None:
    draft.create(_path(draft, name), json.dumps(golden, indent=2, ensure_ascii=False) + "\n")


def _path(draft: Draft, name: str) -> str:
    return f"tests/contracts/golden/{draft.version()}/{name}.json"
