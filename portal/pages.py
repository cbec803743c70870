"""The portal's pages, rendered from the documents alone."""

import json
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from kit.asyncapi.reader import KINDS, DocumentedChannel, DocumentedOperation, DocumentReader, Json
from portal import delivery, http_api, search, waterfall
from portal.assets import address
from portal.documents import WHOLE, Library
from portal.fields import Field, fields
from portal.history import Change, history
from portal.http_api import HttpApi
from portal.map_layout import lay_out
from portal.problem_types import ProblemType
from portal.snippets import Snippet, snippets
from portal.templates import render
from portal.traces import RequestList, RequestView

_LINKS = {
    "message": search.message_page,
    "reference": search.reference_page,
    "service": search.service_page,
    "stream": search.stream_page,
}

_REQUESTS = "/asyncapi/requests"
_MAX_REQUESTS = 50
"""Requests in the list."""
_OWN = ("/asyncapi", "/docs", "/openapi", "/portal-assets", "/problems", "/llms.txt", "/favicon.ico", "/health")
"""Beginnings of the paths whose requests the list leaves out: reading it would fill it."""


class MessageDetails(NamedTuple):
    """What pages show of a message; lists use the fields without a default, the message's own page uses all."""

    name: str
    kind: str
    content: Json
    channels: list[DocumentedChannel]
    publishers: list[DocumentedOperation]
    consumers: list[DocumentedOperation]
    requests: list[str]
    fields: tuple[Field, ...] = ()
    headers: tuple[Field, ...] = ()
    example: Json = MappingProxyType({})
    replies: Sequence[str] = ()
    problems: Sequence[tuple[str, list[Json]]] = ()
    snippets: Sequence[Snippet] = ()
    changes: Sequence[Change] = ()


class Pages:
    """Renders the documents of one library."""

    def __init__(self, library: Library, *, has_traces: bool = False) -> None:
        self.library = library
        self._has_traces = has_traces
        self._systems = {name: DocumentReader(document.content) for name, document in library.documents.items()}
        self.system = self._systems.get(WHOLE) or DocumentReader({})
        self._entries = search.index(library, self.system)

    def index(self, *, live: str | None = None) -> str:
        """Return the page with the map, the services and every message.

        `live` is the audience of live figures, `everyone` or `admins`; for admins the page asks for a token first.
        """
        values = {"map": lay_out(self.system), "used": None, "cards": self._cards(), "rows": self._by_kind()}
        files = {"styles": ["live.css"], "scripts": ["live.js"]} if live else {}
        return self._page("index.html", "Messages", "/asyncapi", live=live, **files, **values)

    def messages(self) -> str:
        """Return the list of messages by kind."""
        return self._page("messages.html", "All messages", "/asyncapi/messages", rows=self._by_kind())

    def message(self, name: str) -> str:
        """Return the page of one message. Raises `KeyError` if there is no message of this name."""
        return self._page("message.html", name, search.message_page(name), message=self._details(name))

    def stream(self, name: str) -> str:
        """Return the page of one stream. Raises `KeyError` if there is no stream of this name."""
        channels = self.system.streams[name]
        consumers = [
            one for channel in channels for message in channel.messages for one in self.system.consumers(message)
        ]
        values = {"stream": name, "channels": channels, "consumers": consumers, "system": self.system}
        return self._page("stream.html", name, search.stream_page(name), **values)

    def search_results(self, query: str, http: HttpApi) -> str:
        """Return the search page with the results of a query in the documents and the HTTP API."""
        results = search.find([*self._entries, *http.entries], query)
        title = f"{query} · Search" if query else "Search"
        return self._page(
            "search.html", title, "/asyncapi/search", query=query, results=results, limit=search.MAX_RESULTS
        )

    def search_index(self, http: HttpApi) -> str:
        """Return the search index as a JSON array of `[kind, name, text, address]`."""
        return json.dumps([*self._entries, *http.entries], ensure_ascii=False, separators=(",", ":"))

    def service(self, name: str) -> str:
        """Return the page of one service or of the whole system: operations with subject, fields and delivery."""
        reader, content = self._systems[name], self.library.documents[name].content
        return self._page(
            "service.html",
            _title(name),
            search.service_page(name),
            document=name,
            info=content["info"],
            system=reader,
            groups=reader.by_service(),
            roles_table=delivery.ROLES,
            bodies={key: fields(reader, message.get("payload", {})) for key, message in reader.messages.items()},
            servers=delivery.of_servers(content),
        )

    def reference(self, name: str) -> str:
        """Return the page that shows a document in AsyncAPI's own component."""
        return self._page(
            "scripted.html",
            _title(name),
            search.reference_page(name),
            subject=_title(name),
            page=search.service_page(name),
            place="reference",
            document=f"{search.service_page(name)}.json",
            whole_system=name == WHOLE,
            styles=["default.min.css", "reference.css"],
            scripts=["without-eval.js", "without-parser.js", "reference.js"],
        )

    def http_api(self, http: HttpApi) -> str:
        """Return the page of the HTTP API."""
        return self._page("http-api.html", "HTTP API", http_api.PAGE, http=http, **{"try": http_api.TRY})

    def try_out(self) -> str:
        """Return the page of the HTTP API with forms to call it, in Swagger UI."""
        return self._page(
            "scripted.html",
            "HTTP API",
            http_api.TRY,
            subject="The HTTP API",
            page=http_api.PAGE,
            place="http-api",
            document="/openapi.json",
            whole_system=False,
            styles=["swagger-ui.css", "http-api.css"],
            scripts=["swagger-ui-bundle.js", "http-api.js"],
        )

    def problems(self, problems: Iterable[ProblemType]) -> str:
        """Return the list of the types of problems."""
        return self._page("problems.html", "Problems", "/problems", problems=problems)

    def problem(self, problem: ProblemType) -> str:
        """Return the page of one type of problem."""
        return self._page("problem.html", problem.title, f"/problems/{problem.slug}", problem=problem)

    def requests(self, newest: RequestList, wanted: str) -> str:
        """Return the list of the newest requests; `wanted` is the id of a request that was not found, if not empty."""
        shown = [one for one in newest.requests if not one.name.partition(" ")[2].startswith(_OWN)][:_MAX_REQUESTS]
        values = {"newest": newest, "requests": shown, "wanted": wanted, "duration": waterfall.duration}
        return self._page("requests.html", "Requests", _REQUESTS, styles=["requests.css"], **values)

    def request(self, view: RequestView) -> str:
        """Return the page of one request: its spans as a waterfall, sums of them, and what it used of the map."""
        used = waterfall.used(view, self.system)
        values = {"request": view, "waterfall": waterfall.lay_out(view), "map": lay_out(self.system), "used": used}
        return self._page("request.html", view.name, _REQUESTS, styles=["requests.css"], **values)

    def requests_locked(self) -> str:
        """Return the page that asks for an admin's token, and then shows one of the others in its place."""
        files = {"styles": ["requests.css"], "scripts": ["requests.js"]}
        return self._page("requests-locked.html", "Requests", _REQUESTS, **files)

    def message_markdown(self, name: str) -> str:
        """Return a message's page as Markdown. Raises `KeyError` if there is no message of this name."""
        return render("message.md", message=self._details(name), delivery=delivery, json=_json, links=_LINKS)

    def overview(self) -> str:
        """Return the list of pages and documents as plain text (llmstxt.org)."""
        return render("llms.txt", library=self.library, rows=self._by_kind(), whole=WHOLE, links=_LINKS)

    def _details(self, name: str) -> MessageDetails:
        system, content = self.system, self.system.messages[name]
        consumers = system.consumers(name)
        replies = list(dict.fromkeys(reply for operation in consumers for reply in operation.replies))
        return self._summary(name)._replace(
            replies=replies,
            fields=fields(system, content.get("payload", {})),
            headers=fields(system, content.get("headers", {})),
            example=delivery.example_of(content),
            problems=self._problems(name, content, consumers),
            snippets=snippets(system, name),
            changes=history(system, self.library.released, name),
        )

    def _problems(
        self, name: str, content: Json, consumers: Iterable[DocumentedOperation]
    ) -> list[tuple[str, list[Json]]]:
        """Return the problems of a message by service: its own under an empty name."""
        problems = [("", list(content.get("x-problems", ())))]
        for operation in consumers:
            if operation.service not in self._systems:
                continue
            messages = self._systems[operation.service].messages
            refusals = [reply for reply in operation.replies if self.system.kind_of(reply) == "problem" != name]
            problems += [(operation.service, list(messages.get(reply, {}).get("x-problems", ()))) for reply in refusals]
        return [(service, rows) for service, rows in problems if rows]

    def _by_kind(self) -> list[tuple[str, list[MessageDetails]]]:
        """Return a summary of every message, by kind."""
        kinds = sorted({self.system.kind_of(name) for name in self.system.messages}, key=_rank)
        return [
            (kind, [self._summary(name) for name in self.system.messages if self.system.kind_of(name) == kind])
            for kind in kinds
        ]

    def _summary(self, name: str) -> MessageDetails:
        system = self.system
        return MessageDetails(
            name=name,
            kind=system.kind_of(name),
            content=system.messages[name],
            channels=system.channels_of(name),
            publishers=system.publishers(name),
            consumers=system.consumers(name),
            requests=system.requests_for(name),
        )

    def _cards(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "text": (info.get("description") or info["title"]).partition("\n")[0],
                "version": info["version"],
                "count": len(document.content.get("operations", {})),
            }
            for name, document in self.library.documents.items()
            for info in [document.content["info"]]
            if name != WHOLE
        ]

    def _page(self, template: str, title: str, here: str, **values: Any) -> str:
        scripts = [*values.pop("scripts", ()), "search.js"]
        return render(
            template,
            title=title,
            here=here,
            services=self.library.services,
            whole=WHOLE if WHOLE in self.library.documents else "",
            styles=[*values.pop("styles", ()), "portal.css"],
            scripts=scripts,
            asset=address,
            delivery=delivery,
            json=_json,
            links=_LINKS,
            has_traces=self._has_traces,
            **{"query": "", **values},
        )


def _title(document: str) -> str:
    return "The whole system" if document == WHOLE else document


def _rank(kind: str) -> tuple[int, str]:
    return (KINDS.index(kind) if kind in KINDS else len(KINDS), kind)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
