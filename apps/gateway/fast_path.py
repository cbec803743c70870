"""The plain good case of the hottest routes, without FastAPI's routing, dependencies and validation of parameters.

`GET /users/me`, `GET /users/{id}`, `GET /payments/{id}` and `POST /payments` cost 200 to 300 µs in FastAPI, a tenth of
it in the route itself. A request that this module recognizes calls the same route function with the same values.
Everything else falls through to FastAPI, before any effect: what is not listed here, and what FastAPI would refuse. So
a new feature of a route needs no change here. From the first effect on, which is to count the request against the limit
of its caller, the request is answered here: to begin again would count twice, or publish twice. Refusals then go
through the same functions as in FastAPI. tests/gateway/test_fast_path.py compares the two paths. See
docs/adr/0015-fast-path.md.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.gateway.auth import Caller
from apps.gateway.deps import Dependencies
from apps.gateway.http import problems, strict_requests
from apps.gateway.routes import payments, users
from kit.errors import Refusal

_MAX_BODY = 16 * 1024
"""Bytes; a larger body falls through: parsing it costs more than FastAPI does."""

_READ_HEADERS = frozenset(
    b"accept accept-encoding accept-language authorization cache-control connection cookie dnt forwarded host origin "
    b"pragma priority referer sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode "
    b"sec-fetch-site sec-fetch-user sec-gpc te traceparent tracestate upgrade-insecure-requests user-agent via "
    b"x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip x-request-id".split()
)
"""Headers that no route reads, except `Authorization`: what browsers, HTTP clients and proxies send."""
_WRITE_HEADERS = _READ_HEADERS | {b"content-length", b"content-type", b"idempotency-key"}

_BEARER = b"Bearer "
_KEY = re.compile(rb"[\x20-\x7e]{1,255}")
_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""The usual form of a UUID; FastAPI also accepts others."""

Headers = Mapping[bytes, bytes]


class _Call(NamedTuple):
    """A recognized request: the route function with its values."""

    route: APIRoute
    caller: Caller
    run: Callable[[Response], Awaitable[Any]]


class _RouteResponse(Response):
    """The response whose status and headers a route may set: a dictionary, and nothing rendered."""

    def __init__(self, status: int) -> None:
        self.status_code = status
        self._fields: dict[str, str] = {}

    @property
    def headers(self) -> Any:
        """The header fields by name."""
        return self._fields

    def encoded(self) -> list[tuple[bytes, bytes]]:
        """Return the header fields as ASGI has them."""
        return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self._fields.items()]


class FastPath:
    """Answers the requests that it recognizes, and passes all others to `app`."""

    def __init__(self, app: ASGIApp, deps: Dependencies) -> None:
        self._app = app
        self._deps = deps
        self._me = _route(users.router, users.get_me)
        self._user = _route(users.router, users.get_user)
        self._payment = _route(payments.router, payments.get_payment)
        self._pay = _route(payments.router, payments.create_payment)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        call: _Call | None = None
        if scope["type"] == "http" and not scope["query_string"] and not scope.get("root_path"):
            if scope["method"] == "GET":
                call = self._read(scope)
            elif scope["method"] == "POST" and scope["path"] == "/payments":
                call, receive = await self._write(scope, receive)
        if call is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = call.route
        scope.setdefault("state", {})["caller"] = call.caller.id
        try:
            await self._answer(call, send)
        except Refusal as refusal:
            await problems.refusal_response(refusal, scope["method"])(scope, receive, send)
        except Exception as error:
            await problems.failure_response(error)(scope, receive, send)
            raise  # as FastAPI does: the server logs it too

    def _read(self, scope: Scope) -> _Call | None:
        """Recognize a GET of one user or payment."""
        resource, _, name = scope["path"][1:].partition("/")
        own = name == "me" and resource == "users"
        if resource not in {"users", "payments"} or not (own or _ID.fullmatch(name)):
            return None
        caller = self._caller(_headers(scope, _READ_HEADERS))
        if caller is None:
            return None
        deps = self._deps
        if own:
            return _Call(self._me, caller, lambda response: users.get_me(caller, deps, response))
        wanted = UUID(name)
        if resource == "users":
            return _Call(self._user, caller, lambda response: users.get_user(wanted, caller, deps, response))
        return _Call(self._payment, caller, lambda _: payments.get_payment(wanted, caller, deps))

    async def _write(self, scope: Scope, receive: Receive) -> tuple[_Call | None, Receive]:
        """Recognize a payment; also return `receive` for FastAPI, which begins with the body that was read here."""
        headers = _headers(scope, _WRITE_HEADERS)
        key = headers.get(b"idempotency-key")
        length = headers.get(b"content-length", b"")
        caller = self._caller(headers)
        if (
            caller is None
            or headers.get(b"content-type") != b"application/json"
            or not (length.isdigit() and len(length) <= len(str(_MAX_BODY)) and int(length) <= _MAX_BODY)
            or not (key is None or _KEY.fullmatch(key))
        ):
            return None, receive
        message = await receive()
        body = None if message.get("more_body") else _new_payment(message)
        if body is None:
            return None, _replay(message, receive)
        text = None if key is None else key.decode("ascii")
        payer, deps = caller, self._deps
        call = _Call(self._pay, caller, lambda response: payments.create_payment(body, payer, deps, response, text))
        return call, receive

    def _caller(self, headers: Headers) -> Caller | None:
        """Return the caller if the token was verified before; to verify one here could end in a refusal."""
        authorization = headers.get(b"authorization", b"")
        if not authorization.startswith(_BEARER):
            return None
        claims = self._deps.verifier.known(authorization[len(_BEARER) :].decode("latin-1"))
        return None if claims is None else Caller(claims)

    async def _answer(self, call: _Call, send: Send) -> None:
        """Do what FastAPI's dependencies do for these routes, call the route and send its response."""
        response = _RouteResponse(call.route.status_code or 200)
        await self._deps.rate_limits.hit("caller", call.caller.id.hex, response.headers)
        result: BaseModel = await call.run(response)
        body = result.model_dump_json().encode()
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        headers += response.encoded()
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _route(router: APIRouter, endpoint: Callable[..., Any]) -> APIRoute:
    """Return the route of a function, with its path and status."""
    return next(route for route in router.routes if isinstance(route, APIRoute) and route.endpoint is endpoint)


def _headers(scope: Scope, known: frozenset[bytes]) -> Headers:
    """Return the headers of a request; none if one is not `known` or stands twice."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    return headers if len(headers) == len(scope["headers"]) and known.issuperset(headers) else {}


def _new_payment(message: Message) -> payments.NewPayment | None:
    """Return the body of a request if it is valid."""
    try:
        parsed = strict_requests.parse(message.get("body", b""))
        return payments.NewPayment.model_validate(parsed) if isinstance(parsed, dict) else None
    except (ValueError, RecursionError):  # of pydantic and json; FastAPI says which
        return None


def _replay(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that begins with `message`."""
    messages = [message]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
