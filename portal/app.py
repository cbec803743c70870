"""The portal's ASGI app: pages, documents and assets, all from this server."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from contracts.errors import ErrorKind
from kit.asyncapi.reader import Json
from kit.errors import InvalidField
from portal.assets import PREFIX, assets
from portal.documents import Library, library
from portal.http_api import HttpApi
from portal.live import Monitor
from portal.pages import Pages
from portal.problem_types import Advice, ProblemType, problem_types
from portal.request_pages import RequestPages
from portal.responses import Authorize, asset_response, page_response
from portal.traces import Traces

PATHS = (
    *("/docs", "/docs/{path:path}", "/asyncapi", "/asyncapi/{path:path}", f"{PREFIX}/{{path:path}}"),
    *("/openapi.json", "/openapi.yaml", "/problems", "/problems/{slug}", "/llms.txt", "/favicon.ico"),
)
"""The addresses that the app answers, as Starlette route paths: a host mounts the app under each of them."""

_MAX_QUERY_LENGTH = 200


class QueryTooLong(InvalidField):
    """The search query is too long."""

    def __init__(self) -> None:
        super().__init__("query/q", "string_too_long", f"The query may have at most {_MAX_QUERY_LENGTH} characters.")


def create_app(
    documents: Path,
    openapi: Callable[[], Json],
    monitor: Monitor | None = None,
    authorize: Authorize | None = None,
    *,
    traces: Traces | None = None,
    openapi_yaml: Path | None = None,
    problems: Sequence[ProblemType] = (),
    statuses: Mapping[ErrorKind, int] = MappingProxyType({}),
    advice: Mapping[str, Advice] = MappingProxyType({}),
) -> Router:
    """Return the portal as an ASGI app.

    `documents` is the folder of AsyncAPI documents, `openapi` returns the document of the HTTP API, and
    `openapi_yaml` is the file with the same in YAML. With a `monitor`
    the map shows live figures, and with `traces` there are pages of requests: for everyone, or only for callers that
    `authorize` accepts. `problems` are those that the
    host has besides the services, `statuses` the HTTP status of each kind, and `advice` what a client does, by slug.

    The app raises `HTTPException` for unknown names and methods, `QueryTooLong` and what the monitor raises: the
    exception handlers of the host that mounts it turn them into responses.
    """
    site = _Site(documents, openapi, openapi_yaml, monitor, authorize, problems, statuses, advice, traces is not None)
    traced = RequestPages(traces, authorize, site.pages) if traces else None
    routes = [
        Route("/openapi.json", site.openapi),
        Route("/openapi.yaml", site.openapi_yaml),
        Route("/docs", site.http_api),
        Route("/docs/try", site.try_out),
        Route("/asyncapi", site.index),
        Route("/llms.txt", site.overview),
        Route("/asyncapi/llms.txt", site.overview),
        Route("/asyncapi/search", site.search),
        Route("/asyncapi/search.json", site.search_index),
        *([Route("/asyncapi/live.json", site.live)] if monitor else []),
        *([Route("/asyncapi/requests", traced.newest)] if traced else []),
        *([Route("/asyncapi/requests/{request_id}", traced.one)] if traced else []),
        Route("/asyncapi/messages", site.messages),
        Route("/asyncapi/messages/{name}.md", site.message_markdown),
        Route("/asyncapi/messages/{name}", site.message),
        Route("/asyncapi/streams/{name}", site.stream),
        Route("/asyncapi/{service}.json", site.document),
        Route("/asyncapi/{service}.yaml", site.document_yaml),
        Route("/asyncapi/{service}", site.service),
        Route("/asyncapi/{service}/reference", site.reference),
        Route(f"{PREFIX}/{{digest}}/{{name}}", site.asset),
        Route("/favicon.ico", site.favicon),
        Route("/problems", site.problems),
        Route("/problems/{slug}", site.problem),
    ]
    return Router(routes, redirect_slashes=False)


class _Site:
    """The endpoints. All but `live` are synchronous: Starlette renders them in a thread."""

    def __init__(
        self,
        documents: Path,
        openapi: Callable[[], Json],
        openapi_yaml: Path | None,
        monitor: Monitor | None,
        authorize: Authorize | None,
        problems: Sequence[ProblemType],
        statuses: Mapping[ErrorKind, int],
        advice: Mapping[str, Advice],
        has_traces: bool,
    ) -> None:
        self._documents, self._openapi, self._openapi_yaml = documents, openapi, openapi_yaml
        self._own_problems, self._statuses, self._advice = problems, statuses, advice
        self._monitor, self._authorize, self._has_traces = monitor, authorize, has_traces

    def openapi(self, request: Request) -> Response:
        """Return the document of the HTTP API."""
        return page_response(request, self._openapi_json, "application/json")

    def openapi_yaml(self, request: Request) -> Response:
        """Return the document of the HTTP API as YAML."""
        return _file_response(request, self._openapi_yaml)

    def http_api(self, request: Request) -> Response:
        """Show the HTTP API."""
        return page_response(request, self._pages.http_api(self._http_api))

    def try_out(self, request: Request) -> Response:
        """Show the HTTP API with forms to call it."""
        return page_response(request, self._pages.try_out())

    def index(self, request: Request) -> Response:
        """Show the map of services and messages."""
        # The page loads the live script only with a monitor: a browser logs an error for each missing page.
        audience = "admins" if self._authorize else "everyone"
        return page_response(request, self._pages.index(live=audience if self._monitor else None))

    def overview(self, request: Request) -> Response:
        """List all pages and documents as plain text (llmstxt.org)."""
        return page_response(request, self._pages.overview(), "text/plain")

    def search(self, request: Request) -> Response:
        """Show the search results for `q`."""
        query = request.query_params.get("q", "")
        if len(query) > _MAX_QUERY_LENGTH:
            raise QueryTooLong
        return page_response(request, self._pages.search_results(query.strip(), self._http_api))

    def search_index(self, request: Request) -> Response:
        """Return the search index for the script in the browser."""
        return page_response(request, self._pages.search_index(self._http_api), "application/json")

    async def live(self, request: Request) -> Response:
        """Return a snapshot of streams, consumers and processes."""
        headers = await self._authorize(request) if self._authorize else {}
        if self._monitor is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        snapshot = await self._monitor.snapshot()
        return Response(
            snapshot.model_dump_json(),
            headers={**headers, "Cache-Control": "no-store"},
            media_type="application/json",
        )

    def messages(self, request: Request) -> Response:
        """List all messages."""
        return page_response(request, self._pages.messages())

    def message_markdown(self, request: Request) -> Response:
        """Return one message's page as Markdown."""
        pages, name = self._message(request)
        return page_response(request, pages.message_markdown(name), "text/markdown")

    def message(self, request: Request) -> Response:
        """Show one message: fields, headers, example, publishers, consumers and delivery."""
        pages, name = self._message(request)
        return page_response(request, pages.message(name))

    def stream(self, request: Request) -> Response:
        """Show one stream: what it stores and its consumers."""
        pages, name = self._pages, request.path_params["name"]
        if name not in pages.system.streams:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return page_response(request, pages.stream(name))

    def document(self, request: Request) -> Response:
        """Return a service's AsyncAPI document, byte for byte."""
        pages, service = self._service(request)
        return page_response(request, pages.library.documents[service].body, "application/json")

    def document_yaml(self, request: Request) -> Response:
        """Return a service's AsyncAPI document as YAML, byte for byte."""
        _, service = self._service(request)
        return _file_response(request, self._documents / f"{service}.yaml")

    def service(self, request: Request) -> Response:
        """Show one service's operations."""
        pages, service = self._service(request)
        return page_response(request, pages.service(service))

    def reference(self, request: Request) -> Response:
        """Show one document in AsyncAPI's own component."""
        pages, service = self._service(request)
        return page_response(request, pages.reference(service))

    def asset(self, request: Request) -> Response:
        """Return an asset."""
        asset = assets().get(request.path_params["name"])
        if asset is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return asset_response(request, asset, request.path_params["digest"])

    def favicon(self, request: Request) -> Response:
        """Return the icon under its conventional address."""
        return asset_response(request, assets()["favicon.svg"], digest="")

    def problems(self, request: Request) -> Response:
        """List every type of problem."""
        return page_response(request, self._pages.problems(self._problem_types.values()))

    def problem(self, request: Request) -> Response:
        """Explain one type of problem: as a page, or as JSON to clients that prefer it."""
        problem = self._problem_types.get(request.path_params["slug"])
        if problem is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        if "application/json" in request.headers.get("Accept", ""):
            response = page_response(request, problem.to_json(), "application/json")
        else:
            response = page_response(request, self._pages.problem(problem))
        response.headers["Vary"] = "Accept, Accept-Encoding"
        return response

    @property
    def _problem_types(self) -> Mapping[str, ProblemType]:
        documents = library(self._documents).documents.values()
        return problem_types((one.content for one in documents), self._own_problems, self._statuses, self._advice)

    def pages(self) -> Pages:
        """Return the pages of the current documents."""
        return _pages_of(library(self._documents), self._has_traces)

    @property
    def _pages(self) -> Pages:
        return self.pages()

    @cached_property
    def _openapi_json(self) -> bytes:
        return json.dumps(self._openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    @cached_property
    def _http_api(self) -> HttpApi:
        return HttpApi(self._openapi())

    def _service(self, request: Request) -> tuple[Pages, str]:
        pages, service = self._pages, request.path_params["service"]
        if service not in pages.library.documents:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return pages, service

    def _message(self, request: Request) -> tuple[Pages, str]:
        pages, name = self._pages, request.path_params["name"]
        if name not in pages.system.messages:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return pages, name


def _file_response(request: Request, file: Path | None) -> Response:
    """Return a YAML file (RFC 9512). Raises `HTTPException` if there is none."""
    if file is None or not file.is_file():
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return page_response(request, file.read_bytes(), "application/yaml")


@lru_cache(maxsize=2)
def _pages_of(documents: Library, has_traces: bool) -> Pages:
    return Pages(documents, has_traces=has_traces)
