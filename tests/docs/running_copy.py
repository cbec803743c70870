"""A copy of the project under `mkstore up`, and what a user and a developer do with it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
import nats

from tests.docs.recipes import Project
from tests.support.running_store import Running, running

MKSTORE = ("-c", "import sys; from mkstore.cli.main import app; app(sys.argv[1:])")
"""Arguments with which Python runs the copy's `mkstore`."""
EMAIL = "ada@example.com"


@contextmanager
def up(project: Project) -> Iterator[Running]:
    """Run `mkstore up` in the copy until the end of the block."""
    command = (sys.executable, *MKSTORE, "up", "--ephemeral", "--port", "0")
    with running(command=command, env=dict(project.environment()), cwd=project.root) as store:
        yield store


def pay(store: Running) -> UUID:
    """Sign up, and return the id of a recorded payment."""
    password = "correct horse battery staple"
    with httpx.Client(base_url=store.url, timeout=30) as http:
        assert http.post("/users", json={"email": EMAIL, "password": password}).is_success
        login = {"email": EMAIL, "password": password}
        token = http.post("/auth/sessions", json=login).json()["accessToken"]
        headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=20"}
        response = http.post("/payments", json={"amount": 1999}, headers=headers)
    assert response.status_code == httpx.codes.CREATED, response.text
    return UUID(response.json()["id"])


async def record_of(store: Running, subject: str, payment: UUID) -> dict[str, str]:
    """Ask a service for its record of a payment; empty if there is none yet."""
    client = await nats.connect(store.record["nats"]["admin_url"])
    try:
        reply = await client.request(subject, json.dumps({"paymentId": str(payment)}).encode(), timeout=10)
    finally:
        await client.close()
    return {} if "Nats-Service-Error" in (reply.headers or {}) else dict(json.loads(reply.data))
