"""The portal's routes: pages, documents and assets, all from this server and none of them with a script of its own."""

import gzip
import hashlib
from collections.abc import Callable
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request, Response
from starlette.exceptions import HTTPException

from portal.assets import PREFIX, assets
from portal.documents import FOLDER, Library, library
from portal.http_api import HttpApi
from portal.pages import Pages

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",  # the search, where no script runs
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{what} {whence}" for what, whence in _POLICY.items()),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"
_MARKDOWN = "text/markdown"

router = APIRouter(include_in_schema=False)
_read: Callable[[str], Callable[..., Callable[..., Response]]] = partial(router.api_route, methods=["GET", "HEAD"])


@_read("/docs")
def http_api(request: Request) -> Response:
    """Show the HTTP API."""
    return _answer(request, _pages().http_api(_http(request.app)))


@_read("/docs/try")
def try_out(request: Request) -> Response:
    """Show the HTTP API with forms to call it."""
    return _answer(request, _pages().try_out())


@_read("/asyncapi")
def index(request: Request) -> Response:
    """Show the map: which services there are, and what they ask, order and tell each other."""
    # Only then: a browser tells of each page that is not there.
    return _answer(request, _pages().index(live=getattr(request.app.state, "live", None)))


@_read("/llms.txt")
@_read("/asyncapi/llms.txt")
def overview(request: Request) -> Response:
    """List what there is for those who read no HTML."""
    return _answer(request, _pages().overview(), "text/plain")


@_read("/asyncapi/search")
def search(request: Request, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Show what a query finds in the documents."""
    return _answer(request, _pages().found(q.strip(), _http(request.app)))


@_read("/asyncapi/search.json")
def search_index(request: Request) -> Response:
    """Hand out all that can be found, for a search in the browser."""
    return _answer(request, _pages().search_index(_http(request.app)), "application/json")


@_read("/asyncapi/messages")
def messages(request: Request) -> Response:
    """List every message."""
    return _answer(request, _pages().messages())


@_read("/asyncapi/messages/{name}.md")
def message_text(request: Request, name: str) -> Response:
    """Tell of one message in Markdown."""
    return _answer(request, _with_message(name).message_text(name), _MARKDOWN)


@_read("/asyncapi/messages/{name}")
def message(request: Request, name: str) -> Response:
    """Show one message: its fields, headers and example, who sends and who takes it, and how."""
    return _answer(request, _with_message(name).message(name))


@_read("/asyncapi/streams/{name}")
def stream(request: Request, name: str) -> Response:
    """Show one stream: what it keeps, and who reads it."""
    pages = _pages()
    if name not in pages.system.streams:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such stream.")
    return _answer(request, pages.stream(name))


@_read("/asyncapi/{service}.json")
def document(request: Request, service: str) -> Response:
    """Hand out the service's AsyncAPI document as it was written."""
    return _answer(request, _with_document(service).library.documents[service].body, "application/json")


@_read("/asyncapi/{service}")
def service_page(request: Request, service: str) -> Response:
    """Show what the service is asked, told, and says."""
    return _answer(request, _with_document(service).service(service))


@_read("/asyncapi/{service}/reference")
def reference(request: Request, service: str) -> Response:
    """Show the service's document, drawn by AsyncAPI's own component."""
    return _answer(request, _with_document(service).reference(service))


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


def _pages() -> Pages:
    return _pages_of(library(FOLDER))


@lru_cache(maxsize=2)
def _pages_of(found: Library) -> Pages:
    return Pages(found)


@lru_cache(maxsize=2)
def _http(app: FastAPI) -> HttpApi:
    return HttpApi(app.openapi())


def _with_document(service: str) -> Pages:
    pages = _pages()
    if service not in pages.library.documents:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such service.")
    return pages


def _with_message(name: str) -> Pages:
    pages = _pages()
    if name not in pages.system.messages:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such message.")
    return pages


def _answer(request: Request, content: str | bytes, media_type: str = "text/html") -> Response:
    """Send the content as gzip where that is taken, and not at all to those who have it (RFC 9110)."""
    body = content.encode() if isinstance(content, str) else content
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    digest = hashlib.sha256(body).hexdigest()[:16]
    etag = f'"{digest}-gzip"' if packed else f'"{digest}"'
    headers = HEADERS | {"Cache-Control": _ASK_FIRST, "ETag": etag, "Vary": "Accept-Encoding"}
    known = {one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")}
    if known & {etag, "*"}:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if packed:
        return Response(_packed(body), headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)
    return Response(body, headers=headers, media_type=media_type)


@lru_cache(maxsize=128)
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=6, mtime=0)
