"""The portal's routes: pages, documents and assets, all from this server and none of them with a script of its own."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from apps.gateway.portal import pages
from apps.gateway.portal.assets import PREFIX, assets
from apps.gateway.portal.documents import FOLDER, Document, documents

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{what} {whence}" for what, whence in _POLICY.items()),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"

router = APIRouter(include_in_schema=False)
_read: Callable[[str], Callable[..., Callable[..., Response]]] = partial(router.api_route, methods=["GET", "HEAD"])


@_read("/docs")
def http_api() -> Response:
    """Show the HTTP API, which can be tried out from there."""
    return _page(pages.http_api(documents(FOLDER)))


@_read("/asyncapi")
def index() -> Response:
    """Show which services there are and what each says."""
    return _page(pages.index(documents(FOLDER).values()))


@_read("/asyncapi/{service}.json")
def document(service: str, request: Request) -> Response:
    """Hand out the service's AsyncAPI document as it was written; 304 to those who have it."""
    found = _document(service)
    headers = HEADERS | {"Cache-Control": _ASK_FIRST, "ETag": found.etag}
    known = {etag.strip().removeprefix("W/") for etag in request.headers.get("If-None-Match", "").split(",")}
    if known & {found.etag, "*"}:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.body, headers=headers, media_type="application/json")


@_read("/asyncapi/{service}")
def reference(service: str) -> Response:
    """Show what the service is asked, told, and says."""
    return _page(pages.reference(_document(service), documents(FOLDER)))


@_read(PREFIX + "/{digest}/{name}")
def asset(digest: str, name: str, request: Request) -> Response:
    """Hand out an asset; under a digest of before it is today's, which is not to be kept."""
    found = assets().get(name)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such asset.")
    headers = HEADERS | {
        "Cache-Control": _FOR_EVER if digest == found.digest else _ASK_FIRST,
        "Vary": "Accept-Encoding",
    }
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.compressed, headers=headers, media_type=found.media_type)
    return Response(found.content, headers=headers, media_type=found.media_type)


@_read("/favicon.ico")
def favicon(request: Request) -> Response:
    """Hand out the icon to those who look for it where it always was."""
    return asset("", "favicon.svg", request)


def _document(service: str) -> Document:
    found = documents(FOLDER).get(service)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such service.")
    return found


def _page(html: str) -> Response:
    return Response(html, headers=HEADERS | {"Cache-Control": _ASK_FIRST}, media_type="text/html")
