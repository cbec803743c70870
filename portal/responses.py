"""Responses of the portal: security headers, entity tags and gzip."""

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from portal.assets import Asset

Authorize = Callable[[Request], Awaitable[Mapping[str, str]]]
"""Checks who may see live figures: returns headers for the response, or raises the host's own refusal."""

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",  # without scripts, the search is a form
    "frame-ancestors": "'none'",
}
_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{directive} {source}" for directive, source in _POLICY.items()),
}
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


def page_response(request: Request, content: str | bytes, media_type: str = "text/html") -> Response:
    """Return the content with an `ETag`, compressed if the client accepts gzip, or 304 if it has it (RFC 9110)."""
    body = content.encode() if isinstance(content, str) else content
    compressed = _accepts_gzip(request)
    digest = hashlib.sha256(body).hexdigest()[:16]
    etag = f'"{digest}-gzip"' if compressed else f'"{digest}"'
    headers = _HEADERS | {"Cache-Control": _REVALIDATE, "ETag": etag, "Vary": "Accept-Encoding"}
    cached = {tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")}
    if cached & {etag, "*"}:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if compressed:
        return Response(_compress(body), headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)
    return Response(body, headers=headers, media_type=media_type)


def fresh_response(
    request: Request, content: str, status: HTTPStatus, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a page that no cache may keep, compressed if the client accepts gzip."""
    body, encoding = content.encode(), {}
    if _accepts_gzip(request):
        body, encoding = gzip.compress(body, compresslevel=6), {"Content-Encoding": "gzip"}
    fields = {**_HEADERS, "Cache-Control": "no-store", "Vary": "Accept-Encoding", **encoding, **(headers or {})}
    return Response(body, status, headers=fields, media_type="text/html")


def asset_response(request: Request, asset: Asset, digest: str) -> Response:
    """Return an asset; it is cacheable only under its current digest, not under that of another release."""
    headers = _HEADERS | {
        "Cache-Control": _IMMUTABLE if digest == asset.digest else _REVALIDATE,
        "Vary": "Accept-Encoding",
    }
    if _accepts_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.compressed, headers=headers, media_type=asset.media_type)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


def _accepts_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")


@lru_cache(maxsize=128)
def _compress(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=6, mtime=0)
