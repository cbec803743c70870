"""The endpoints that services report on NATS agree with their AsyncAPI documents."""

import json
import re
from typing import Any

import pytest
from faststream.nats import NatsRouter
from sqlalchemy import make_url

from apps.payments import requests as payments
from apps.users import key_requests as keys
from apps.users import requests as users
from apps.users import session_requests as sessions
from kit.database import pool_of
from kit.messaging.endpoints import endpoints_of
from kit.outbox.requests import refused_event_router
from mkstore.services import SERVICES
from tests.architecture.messages import OUTBOX_REQUESTS, REQUESTS
from tests.conftest import ROOT

OWNERS = [spec.name for spec in SERVICES if spec.database]
ROUTERS = [
    ("users", users.router),
    ("users", sessions.router),
    ("users", keys.router),
    ("payments", payments.router),
    *((name, refused_event_router(name, pool_of(make_url("postgresql://unused"), 1))) for name in OWNERS),
]


def test_every_request_is_an_endpoint_of_one_service() -> None:
    endpoints = [endpoint for _, router in ROUTERS for endpoint in endpoints_of(router)]
    assert sorted(endpoint.subject for endpoint in endpoints) == sorted(
        request.subject for request in [*REQUESTS, *OUTBOX_REQUESTS]
    )
    assert all(endpoint.request.subject == endpoint.subject for endpoint in endpoints)


@pytest.mark.parametrize(("service", "router"), ROUTERS)
def test_endpoint_names_its_operation_in_the_document(service: str, router: NatsRouter) -> None:
    document: dict[str, Any] = json.loads((ROOT / f"asyncapi/{service}.json").read_text(encoding="utf-8"))
    for endpoint in endpoints_of(router):
        info = endpoint.info(service)
        assert re.fullmatch(r"[A-Za-z0-9_-]+", info["name"])  # ADR-32 allows no other
        operation = document["operations"][info["metadata"]["asyncapi.operation"]]
        assert operation["x-nats"]["queueGroup"] == info["queue_group"]
        channel = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        assert channel["address"] == info["subject"]
        replies = [message["$ref"].rpartition("/")[2] for message in operation["reply"]["messages"]]
        assert info["metadata"]["reply"] in replies
