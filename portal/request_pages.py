"""The pages of requests: the newest ones, and one as a waterfall."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from portal.pages import Pages
from portal.responses import Authorize, fresh_response
from portal.traces import RequestList, RequestView, Traces


class RequestPages:
    """Endpoints of the traces; with `authorize` the page asks for a token first, since it has the users' requests."""

    def __init__(self, traces: Traces, authorize: Authorize | None, pages: Callable[[], Pages]) -> None:
        self._traces, self._authorize, self._pages = traces, authorize, pages

    async def newest(self, request: Request) -> Response:
        """List the newest requests, or show the one whose id is in the query."""
        return await self._respond(request, request.query_params.get("id", "").strip())

    async def one(self, request: Request) -> Response:
        """Show one request."""
        return await self._respond(request, request.path_params["request_id"])

    async def _respond(self, request: Request, wanted: str) -> Response:
        headers: Mapping[str, str] = {}
        if self._authorize is not None:
            if "Authorization" not in request.headers:
                return fresh_response(request, self._pages().requests_locked(), HTTPStatus.OK)
            headers = await self._authorize(request)
        view = await self._traces.request(wanted) if wanted else None
        newest = await self._traces.newest() if view is None else None
        # In a thread, as the other pages: rendering takes milliseconds.
        content = await run_in_threadpool(self._render, view, newest, wanted)
        status = HTTPStatus.NOT_FOUND if wanted and view is None else HTTPStatus.OK
        return fresh_response(request, content, status, headers)

    def _render(self, view: RequestView | None, newest: RequestList | None, wanted: str) -> str:
        if view is not None:
            return self._pages().request(view)
        return self._pages().requests(newest or RequestList(requests=[], kept=0), wanted)
