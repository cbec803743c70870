"""The receiver of traces: OTLP over HTTP in, requests as JSON out.

It follows the specification of OTLP 1.9: https://opentelemetry.io/docs/specs/otlp/#otlphttp. Spans in JSON are refused.
"""

import hmac
import zlib
from http import HTTPStatus

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mkstore.traces import views
from mkstore.traces.spans import received
from mkstore.traces.store import SpanStore

MAX_BODY = 8 << 20
"""Bytes of an export, before and after decompression; an exporter sends 512 spans at a time, about 300 KiB."""

_PROTOBUF = "application/x-protobuf"
_GZIP_WINDOW = 31  # gzip only, not zlib
_CODES = {HTTPStatus.BAD_REQUEST: 3, HTTPStatus.UNSUPPORTED_MEDIA_TYPE: 3, HTTPStatus.REQUEST_ENTITY_TOO_LARGE: 8}
"""The code of `google.rpc.Status` for an HTTP status: invalid argument, resource exhausted."""


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def create_app(store: SpanStore, token: str, hosts: frozenset[str], max_body: int = MAX_BODY) -> ASGIApp:
    """Return the receiver as an ASGI app.

    Every path begins with `token`, so that other users of the machine can neither read nor write. A request whose
    `Host` is not one of `hosts` gets 421: the page of another site may have a name that resolves to the loopback.
    """

    async def add(request: Request) -> Response:
        try:
            spans = [*received(_decoded(request, await _body(request, max_body), max_body))]
        except _Refused as refused:
            status = Status(code=_CODES[refused.status], message=str(refused))
            return Response(status.SerializeToString(), refused.status, media_type=_PROTOBUF)
        store.add(span for span in spans if span is not None)
        return Response(_accepted(spans.count(None)).SerializeToString(), media_type=_PROTOBUF)

    async def newest(_: Request) -> Response:
        return _json(views.newest(store))

    async def one(request: Request) -> Response:
        view = views.request(store, request.path_params["request_id"])
        return _json(view) if view else Response(status_code=HTTPStatus.NOT_FOUND)

    routes = [
        Route("/v1/traces", add, methods=["POST"]),
        Route("/requests", newest),
        Route("/requests/{request_id}", one),
    ]
    return _Guard(Starlette(routes=[Mount(f"/{token}", routes=routes)]), token, hosts)


class _Guard:
    """Answers what comes without the token, or by another host name."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app, self._token, self._hosts = app, token.encode(), hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        given = scope["path"].split("/", 2)[1].encode()
        if request.headers.get("Host", "") not in self._hosts:
            await Response(status_code=HTTPStatus.MISDIRECTED_REQUEST)(scope, receive, send)
        elif not hmac.compare_digest(given, self._token):
            await Response(status_code=HTTPStatus.NOT_FOUND)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _decoded(request: Request, body: bytes, limit: int) -> ExportTraceServiceRequest:
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _PROTOBUF:
        raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The content type must be {_PROTOBUF}.")
    match request.headers.get("Content-Encoding", "identity").strip().lower():
        case "gzip":
            body = _decompressed(body, limit)
        case "identity" | "":
            pass
        case other:
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The content encoding {other} is not supported.")
    export = ExportTraceServiceRequest()
    try:
        export.ParseFromString(body)
    except DecodeError:
        raise _Refused(HTTPStatus.BAD_REQUEST, "The body is not an ExportTraceServiceRequest.") from None
    return export


def _decompressed(body: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = decompressor.decompress(body, limit + 1)
    except zlib.error:
        raise _Refused(HTTPStatus.BAD_REQUEST, "The body is not gzip.") from None
    if len(content) > limit:
        raise _too_large(limit)
    if not decompressor.eof:
        raise _Refused(HTTPStatus.BAD_REQUEST, "The body is not complete.")
    return content


def _too_large(limit: int) -> _Refused:
    return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"An export may have at most {limit} bytes.")


def _accepted(rejected: int) -> ExportTraceServiceResponse:
    if not rejected:
        return ExportTraceServiceResponse()
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message="These spans have no valid ids.")
    return ExportTraceServiceResponse(partial_success=partial)


def _json(view: BaseModel) -> Response:
    return Response(view.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"})
