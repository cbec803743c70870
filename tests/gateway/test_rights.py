"""The rights table: each route of the HTTP API, for each kind of caller, with the status that it gets.

The resources belong to `owner`. A route of the OpenAPI document without a row fails, and a row without a route too.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from jose import jwt

from contracts.base import Request
from contracts.sessions import RevokeSessions
from contracts.users import Role, UpdateUser
from kit.messaging.client import RequestClient
from mkstore.testing.signing_keys import signer
from tests.support.memory_store import MemoryStore, in_memory
from tests.support.polling import eventually
from tests.support.store import SignedInUser
from tests.support.users_harness import PASSWORD, new_email

CALLERS = ("nobody", "owner", "other", "admin", "demoted", "revoked", "expired", "disabled")
"""`revoked`, `expired` and `disabled` have tokens of the owner: its session has ended, it is over, or the owner was
disabled after it was issued. `demoted` has a token of the time when its user was an admin."""

METHODS = {"get", "post", "put", "patch", "delete"}

Row = tuple[str, str, str]
"""Method, path of the document, and the case if there are several."""

TABLE: dict[Row, tuple[int, ...]] = {
    # Without a login: a token makes no difference.
    ("POST", "/users", ""): (201, 201, 201, 201, 201, 201, 201, 201),
    ("POST", "/auth/sessions", ""): (201, 201, 201, 201, 201, 201, 201, 201),
    ("POST", "/auth/sessions/refresh", ""): (200, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/.well-known/jwks.json", ""): (200, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/health", ""): (200, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/health/live", ""): (200, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/health/ready", ""): (200, 200, 200, 200, 200, 200, 200, 200),
    # Users: another's is not found, rather than forbidden.
    ("GET", "/users", ""): (401, 403, 403, 200, 403, 401, 401, 401),
    ("GET", "/users/me", ""): (401, 200, 200, 200, 200, 401, 401, 401),
    ("GET", "/users/{user_id}", ""): (401, 200, 404, 200, 404, 401, 401, 401),
    ("PATCH", "/users/{user_id}", "name"): (401, 200, 404, 200, 404, 401, 401, 401),
    ("PATCH", "/users/{user_id}", "role"): (401, 403, 404, 200, 404, 401, 401, 401),
    ("PATCH", "/users/{user_id}", "disabled"): (401, 403, 404, 200, 404, 401, 401, 401),
    ("PUT", "/users/{user_id}/password", ""): (401, 204, 404, 404, 404, 401, 401, 401),
    ("DELETE", "/users/{user_id}", ""): (401, 204, 404, 204, 404, 401, 401, 401),
    # Sessions: always the caller's own.
    ("GET", "/auth/sessions", ""): (401, 200, 200, 200, 200, 401, 401, 401),
    ("DELETE", "/auth/sessions", ""): (401, 204, 204, 204, 204, 401, 401, 401),
    ("DELETE", "/auth/sessions/{session_id}", ""): (401, 204, 404, 404, 404, 401, 401, 401),
    # Payments.
    ("POST", "/payments", "for the caller"): (401, 202, 202, 202, 202, 401, 401, 401),
    ("POST", "/payments", "for the owner"): (401, 202, 403, 202, 403, 401, 401, 401),
    ("GET", "/payments", "of the caller"): (401, 200, 200, 200, 200, 401, 401, 401),
    ("GET", "/payments", "of the owner"): (401, 200, 403, 200, 403, 401, 401, 401),
    ("GET", "/payments/{payment_id}", ""): (401, 200, 404, 200, 404, 401, 401, 401),
    # The open stream does not end, so the position is an invalid one: 422 is behind the login.
    ("GET", "/events", "from an invalid position"): (401, 422, 422, 422, 422, 401, 401, 401),
}


def session_of(token: str) -> str:
    """Return the id of the session that a token belongs to."""
    return str(jwt.get_unverified_claims(token)["sid"])


async def _has_status(caller: SignedInUser, path: str, status: int) -> bool:
    return (await caller.get(path)).status_code == status


class Scene:
    """The owner with a payment, and the callers."""

    def __init__(self, store: MemoryStore, owner: SignedInUser, payment: str, signs_in: dict[str, str]) -> None:
        self._store = store
        self._signs_in = signs_in
        """Email and refresh token of a user who is not the owner, whose sessions may have ended."""
        self.owner = owner
        self.payment = payment

    async def token(self, caller: str) -> str | None:
        """Return the access token of a caller."""
        tokens: dict[str, Callable[[], Awaitable[str]]] = {
            "owner": self._own,
            "other": self._of_somebody,
            "admin": self._of_admin,
            "demoted": self._of_demoted,
            "revoked": self._of_ended_session,
            "expired": self._expired,
            "disabled": self._of_disabled,
        }
        return await tokens[caller]() if caller in tokens else None

    async def _own(self) -> str:
        return self.owner.token

    async def _of_somebody(self) -> str:
        return (await self._store.somebody()).token

    async def _of_admin(self) -> str:
        return (await self._store.some_admin()).token

    async def _of_demoted(self) -> str:
        await self._store.some_admin()  # the last admin cannot be demoted
        admin = await self._store.admin()
        await self._ask(UpdateUser(id=UUID(admin.id), role=Role.USER))
        await eventually(partial(_has_status, admin, "/users", 403))
        return admin.token

    async def _of_ended_session(self) -> str:
        await self._ask(RevokeSessions(user_id=UUID(self.owner.id), session_id=UUID(session_of(self.owner.token))))
        await eventually(partial(_has_status, self.owner, "/users/me", 401))
        return self.owner.token

    async def _of_disabled(self) -> str:
        await self._ask(UpdateUser(id=UUID(self.owner.id), disabled=True))
        await eventually(partial(_has_status, self.owner, "/users/me", 401))
        return self.owner.token

    async def _ask(self, request: Request[Any]) -> None:
        await RequestClient(self._store.broker).request(request, timeout=15)

    async def _expired(self) -> str:
        token = signer(timedelta(seconds=-1)).sign(UUID(self.owner.id), "user", uuid4())
        assert jwt.get_unverified_header(token) == jwt.get_unverified_header(self.owner.token)
        return token

    def request(self, row: Row) -> dict[str, Any]:
        """Return the parameters of the request of a row: a valid one of a caller with the right."""
        bodies: dict[Row, Any] = {
            ("POST", "/users", ""): {"email": new_email(), "password": PASSWORD},
            ("POST", "/auth/sessions", ""): {"email": self._signs_in["email"], "password": PASSWORD},
            ("POST", "/auth/sessions/refresh", ""): {"refreshToken": self._signs_in["refreshToken"]},
            ("PATCH", "/users/{user_id}", "name"): {"name": "Ada"},
            ("PATCH", "/users/{user_id}", "role"): {"role": "admin"},
            ("PATCH", "/users/{user_id}", "disabled"): {"disabled": False},
            ("PUT", "/users/{user_id}/password", ""): {
                "currentPassword": PASSWORD,
                "newPassword": "staple of another colour",
            },
            ("DELETE", "/users/{user_id}", ""): {"currentPassword": PASSWORD},
            ("POST", "/payments", "for the caller"): {"amount": 1999},
            ("POST", "/payments", "for the owner"): {"amount": 1999, "userId": self.owner.id},
        }
        other: dict[Row, dict[str, Any]] = {
            ("GET", "/payments", "of the owner"): {"params": {"userId": self.owner.id}},
            ("GET", "/events", "from an invalid position"): {"headers": {"Last-Event-ID": "x"}},
            ("DELETE", "/auth/sessions", ""): {"params": {"scope": "others"}},
        }
        return {"json": bodies[row]} if row in bodies else other.get(row, {})


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with in_memory() as running:
        yield running


@pytest.mark.parametrize("row", TABLE, ids=lambda row: " ".join(filter(None, row)))
async def test_each_caller_gets_the_status_of_the_table(store: MemoryStore, row: Row) -> None:
    method, path, _ = row
    got = []
    email = (await store.somebody()).user["email"]
    session = (await store.http.post("/auth/sessions", json={"email": email, "password": PASSWORD})).json()
    signs_in = {"email": email, "refreshToken": session["refreshToken"]}
    for caller in CALLERS:
        owner = await store.sign_up()
        scene = Scene(store, owner, (await owner.paid())["id"], signs_in)
        token = await scene.token(caller)
        parameters = scene.request(row)
        headers = parameters.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        address = path.format(user_id=owner.id, payment_id=scene.payment, session_id=session_of(owner.token))
        got.append((await store.http.request(method, address, headers=headers, **parameters)).status_code)
    assert dict(zip(CALLERS, got, strict=True)) == dict(zip(CALLERS, TABLE[row], strict=True))


async def test_every_route_is_in_the_table(store: MemoryStore) -> None:
    documented = {
        (method.upper(), path)
        for path, operations in store.app.api.openapi()["paths"].items()
        for method in operations.keys() & METHODS
    }
    assert {(method, path) for method, path, _ in TABLE} == documented
