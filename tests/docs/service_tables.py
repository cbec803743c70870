"""The generated parts of a service's README: what it owns, subjects, HTTP endpoints, environment variables."""

import json
import re
from importlib import import_module
from typing import Any

from tests.conftest import ROOT

_METHODS = ("get", "post", "put", "patch", "delete")
ROWS = ("Replies to", "Consumes", "Subscribes to", "Publishes", "Requests", "Dead-letters to")


def owned(service: str) -> str:
    """Return the sentence of the service's AsyncAPI document that names its database and streams; "" without one."""
    match = re.search(r"^Owns: [^.]*\.", document_of(service)["info"]["description"], re.MULTILINE)
    return match[0] if match else ""


def document_of(service: str) -> dict[str, Any]:
    """Return the service's AsyncAPI document."""
    document: dict[str, Any] = json.loads((ROOT / f"asyncapi/{service}.json").read_text("utf-8"))
    return document


def subjects(service: str) -> list[str]:
    """Return a Markdown table of the subjects in the service's AsyncAPI document, one row per role."""
    document = document_of(service)
    by_role: dict[str, list[str]] = {row: [] for row in ROWS}
    for operation in document["operations"].values():
        channel = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        by_role[_row(operation)].append(f"`{channel['address']}`{_place(operation)}")
    rows = [f"| {row} | {', '.join(sorted(cells))} |" for row, cells in by_role.items() if cells]
    return ["| role | subjects |", "|---|---|", *rows]


def endpoints(service: str) -> list[str]:
    """Return the methods and paths of the service's OpenAPI document as one list item each."""
    document = json.loads((ROOT / f"openapi/{service}.json").read_text("utf-8"))
    return [
        f"- `{' '.join(method.upper() for method in _METHODS if method in item)} {path}`"
        for path, item in document["paths"].items()
    ]


def variables(service: str) -> set[str]:
    """Return the environment variables that only this service reads."""
    settings = import_module(f"apps.{service}.settings").Settings
    inherited = {name for base in settings.__mro__[1:] for name in getattr(base, "model_fields", {})}
    return {name.upper() for name in set(settings.model_fields) - inherited} | (
        {"DB_DATABASE"} if "db_database" in settings.model_fields else set()
    )


def _row(operation: dict[str, Any]) -> str:
    facts = operation["x-nats"]
    if operation["action"] == "receive":
        if "reply" in operation:
            return "Replies to"
        return "Consumes" if "durable" in facts.get("consumer", {}) else "Subscribes to"
    if facts.get("stream") == "DEAD_LETTERS":
        return "Dead-letters to"
    return "Requests" if "reply" in operation else "Publishes"


def _place(operation: dict[str, Any]) -> str:
    """Name the durable of a consumer, and the stream of a message that is published."""
    facts = operation["x-nats"]
    if durable := facts.get("consumer", {}).get("durable"):
        return f" (durable `{durable}`)"
    return f" (`{facts['stream']}`)" if operation["action"] == "send" and "stream" in facts else ""
