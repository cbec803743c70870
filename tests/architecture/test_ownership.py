"""What a service owns: its database and its streams, in its document and in fact."""

import importlib
import json
from typing import Any

import pytest

from contracts.streams import DEAD_LETTERS, STREAMS, Stream
from tests.conftest import ROOT

SERVICES = sorted(path.parent.name for path in (ROOT / "apps").glob("*/main.py"))


def document(service: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "asyncapi" / f"{service}.json").read_text("utf-8"))
    return content


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_stream_belongs_to_the_service_that_uses_it(stream: Stream) -> None:
    """Events belong to their only publisher, commands to their only consumer; dead letters have no owner."""
    role = "consumes" if stream.name.endswith("_COMMANDS") else "publishes"
    users = {
        service
        for service in SERVICES
        for operation in document(service)["operations"].values()
        if (operation["x-nats"]["role"], operation["x-nats"].get("stream")) == (role, stream.name)
    }
    assert users == (set() if stream is DEAD_LETTERS else {stream.owner})


@pytest.mark.parametrize("service", SERVICES)
def test_the_description_names_what_the_service_owns(service: str) -> None:
    settings = importlib.import_module(f"apps.{service}.settings").Settings
    database = settings.model_fields.get("db_database")
    owned = [f"database `{database.default}`"] if database else []
    owned += [f"stream `{stream.name}`" for stream in STREAMS if stream.owner == service]
    sentence = f"Owns: {', '.join(owned)}. "
    assert (sentence in document(service)["info"]["description"]) is bool(owned)
