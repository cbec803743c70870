"""HTTP clients of a running store: anonymous, signed in, and the operator's command line."""

import asyncio
import itertools
import ssl
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from tests.support.running_store import MKSTORE, Running

PASSWORD = "a long enough sentence"
PROBLEM = "application/problem+json"
MEMBERS = {"type", "title", "status", "detail", "code", "requestId"}


@cache
def _tls() -> ssl.SSLContext:
    """Return a TLS context: to load the certificates of the system costs 25 ms, and each client would do that."""
    return httpx.create_ssl_context()


class _Spread(httpx.AsyncBaseTransport):
    """Several connection pools, used in turn: the cost of one pool grows with the square of its connections."""

    def __init__(self, pools: int) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
        self._pools = [httpx.AsyncHTTPTransport(verify=_tls(), limits=limits) for _ in range(pools)]
        self._turns = itertools.cycle(self._pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over the next pool."""
        return await next(self._turns).handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(pool.aclose() for pool in self._pools))


@asynccontextmanager
async def calling(mkstore: Running, *, request_timeout: float = 15.0) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the gateway without a limit of connections; `request_timeout` is in seconds."""
    async with httpx.AsyncClient(
        transport=_Spread(8), base_url=mkstore.url, timeout=request_timeout, trust_env=False
    ) as http:
        yield http


@dataclass(frozen=True)
class Caller:
    """A signed-in user."""

    http: httpx.AsyncClient
    id: str
    email: str
    token: str

    async def __call__(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request with the caller's token unless `headers` has another one; encode headers as Latin-1."""
        fields = self.bearer | dict(headers or {})
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        return await self.http.request(method, path, headers=raw, **options)

    @property
    def bearer(self) -> dict[str, str]:
        """Authorization header."""
        return {"Authorization": f"Bearer {self.token}"}

    async def pay(self, amount: object = 1999, *, key: str | None = None, wait: int | None = None) -> httpx.Response:
        """Send a payment, optionally with an idempotency key and with `Prefer: wait`."""
        headers = {"Idempotency-Key": key} if key else {}
        options: dict[str, Any] = {}
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
            options["timeout"] = wait + 10.0  # the client's own may be shorter than the wait
        return await self("POST", "/payments", json={"amount": amount}, headers=headers, **options)

    async def paid(self, amount: int = 1999, *, key: str | None = None) -> dict[str, Any]:
        """Make a payment and return it once it is recorded."""
        answer = await self.pay(amount, key=key, wait=20)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def signed_in_again(self, password: str = PASSWORD) -> "Caller":
        """Return the same user with a new token."""
        return Caller(self.http, self.id, self.email, await token(self.http, self.email, password))


def unused_email() -> str:
    """Return an email address that no user has."""
    return f"{uuid.uuid4()}@example.com"


async def token(http: httpx.AsyncClient, email: str, password: str = PASSWORD) -> str:
    """Sign in and return the access token."""
    answer = await http.post("/auth/sessions", json={"email": email, "password": password})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["accessToken"])


async def sign_up(http: httpx.AsyncClient, email: str | None = None) -> Caller:
    """Register a user and sign in."""
    email = email or unused_email()
    answer = await http.post("/users", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return Caller(http, answer.json()["id"], email, await token(http, email))


async def sign_up_admin(http: httpx.AsyncClient, mkstore: Running) -> Caller:
    """Register a user and promote it to admin with the operator's command."""
    user = await sign_up(http)
    await operator(mkstore, "users", "promote", user.email)
    return await user.signed_in_again()


async def operator(mkstore: Running, *command: str) -> str:
    """Run a `mkstore` command on a running store; return its output."""
    process = await asyncio.create_subprocess_exec(
        *(MKSTORE, *command, "--home", str(mkstore.home)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()
    return output.decode()


def assert_problem(answer: httpx.Response, status: int | None = None, code: str | None = None) -> None:
    """Fail unless `answer` is a complete problem document (RFC 9457), with this status and code if given."""
    description = f"{answer.status_code} {answer.headers.get('content-type')} {answer.text[:500]}"
    assert status is None or answer.status_code == status, description
    assert answer.headers["content-type"] == PROBLEM, description
    body = answer.json()
    assert body.keys() >= MEMBERS, description
    assert body["status"] == answer.status_code, description
    assert body["type"], description
    assert body["title"], description
    assert body["requestId"] == answer.headers["X-Request-Id"], description
    assert code is None or body["code"] == code, description


@contextmanager
def no_tracebacks(mkstore: Running) -> Iterator[None]:
    """Fail at the end of the block if a log of the store gained a stack trace in it."""
    sizes = {log: log.stat().st_size for log in _logs(mkstore)}
    yield
    for log in _logs(mkstore):
        text = log.read_bytes()[sizes.get(log, 0) :].decode(errors="replace")
        start = text.find("Traceback")
        assert start < 0, f"{log.name}:\n{text[start : start + 6000]}"


def _logs(mkstore: Running) -> list[Path]:
    return sorted(Path(mkstore.home, "logs").glob("*.log"))


def say(text: str) -> None:
    """Print a figure for readers of `pytest -s`."""
    sys.stdout.write(f"\n    {text}\n")
