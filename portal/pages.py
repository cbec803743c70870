"""The portal's pages, each made from the documents alone."""

import json
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from portal import drawing, facts, http_api, search
from portal.assets import address
from portal.documents import WHOLE, Json, Library
from portal.fields import Field, fields
from portal.history import Change, history
from portal.http_api import HttpApi
from portal.snippets import Snippet, snippets
from portal.system import FROM, KINDS, TO, Channel, Operation, System
from portal.templates import render

_LINKS = {
    "message": search.message_page,
    "reference": search.reference_page,
    "service": search.service_page,
    "stream": search.stream_page,
}


class Message(NamedTuple):
    """What lists tell of a message, and all that its own page tells."""

    name: str
    kind: str
    said: Json
    channels: list[Channel]
    senders: list[Operation]
    takers: list[Operation]
    requests: list[str]
    fields: tuple[Field, ...] = ()
    headers: tuple[Field, ...] = ()
    example: Json = MappingProxyType({})
    replies: Sequence[str] = ()
    problems: Sequence[tuple[str, list[Json]]] = ()
    snippets: Sequence[Snippet] = ()
    changes: Sequence[Change] = ()


class Pages:
    """Renders what one library holds."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._systems = {name: System(document.content) for name, document in library.documents.items()}
        self.system = self._systems.get(WHOLE) or System({})
        self._messages = search.index(library, self.system)

    def index(self, *, live: str | None = None) -> str:
        """Show the map, the services, and every message with its sender and its taker; for `live` what goes on now.

        That is `everybody`, or `admins`: then the page asks for a token before it asks the gateway.
        """
        shown = {"drawing": drawing.draw(self.system), "cards": self._cards(), "rows": self._by_kind()}
        files = {"styles": ["live.css"], "scripts": ["live.js"]} if live else {}
        return self._page("index.html", "Messages", "/asyncapi", live=live, **files, **shown)

    def messages(self) -> str:
        """List the messages by kind."""
        return self._page("messages.html", "All messages", "/asyncapi/messages", rows=self._by_kind())

    def message(self, name: str) -> str:
        """Show one message; `KeyError` where there is none of this name."""
        return self._page("message.html", name, search.message_page(name), message=self._message(name))

    def stream(self, name: str) -> str:
        """Show a stream; `KeyError` where there is none of this name."""
        channels = self.system.streams[name]
        readers = [taken for channel in channels for kept in channel.messages for taken in self.system.who(kept, TO)]
        shown = {
            "stream": name,
            "channels": channels,
            "readers": readers,
            "system": self.system,
            "FROM": FROM,
            "TO": TO,
        }
        return self._page("stream.html", name, search.stream_page(name), **shown)

    def found(self, query: str, http: HttpApi) -> str:
        """Show what a query finds in the documents, and in the HTTP API."""
        found = search.find(self._entries(http), query)
        title = f"{query} · Search" if query else "Search"
        return self._page("search.html", title, "/asyncapi/search", query=query, found=found, most=search.MOST)

    def search_index(self, http: HttpApi) -> str:
        """Return what can be found as JSON: rows of kind, name, text and address."""
        return json.dumps(self._entries(http), ensure_ascii=False, separators=(",", ":"))

    def service(self, name: str) -> str:
        """Show what one service does, or all of them: each operation with its subject, its fields and its delivery."""
        said, content = self._systems[name], self.library.documents[name].content
        return self._page(
            "service.html",
            _title(name),
            search.service_page(name),
            document=name,
            info=content["info"],
            system=said,
            groups=said.by_service(),
            words=facts.ROLES,
            bodies={kept: fields(said, message.get("payload", {})) for kept, message in said.messages.items()},
            servers=facts.of_servers(content),
        )

    def reference(self, name: str) -> str:
        """Show one document, drawn by AsyncAPI's own component; `KeyError` where there is none of this name."""
        return self._page(
            "drawn.html",
            _title(name),
            search.reference_page(name),
            about=_title(name),
            page=search.service_page(name),
            place="reference",
            document=f"{search.service_page(name)}.json",
            whole_system=name == WHOLE,
            styles=["default.min.css", "reference.css"],
            scripts=["without-eval.js", "without-parser.js", "reference.js"],
        )

    def http_api(self, http: HttpApi) -> str:
        """Show the HTTP API."""
        return self._page("http-api.html", "HTTP API", http_api.PAGE, http=http, **{"try": http_api.TRY})

    def try_out(self) -> str:
        """Show the HTTP API with forms to call it, drawn by Swagger UI."""
        return self._page(
            "drawn.html",
            "HTTP API",
            http_api.TRY,
            about="The HTTP API",
            page=http_api.PAGE,
            place="http-api",
            document="/openapi.json",
            whole_system=False,
            styles=["swagger-ui.css", "http-api.css"],
            scripts=["swagger-ui-bundle.js", "http-api.js"],
        )

    def message_text(self, name: str) -> str:
        """Return a message's page as Markdown; `KeyError` where there is none of this name."""
        return render("message.md", message=self._message(name), facts=facts, json=_json, links=_LINKS)

    def overview(self) -> str:
        """Return what there is and where, as llmstxt.org describes it."""
        return render("llms.txt", library=self.library, rows=self._by_kind(), whole=WHOLE, links=_LINKS)

    def _entries(self, http: HttpApi) -> list[search.Entry]:
        return [*self._messages, *http.entries]

    def _message(self, name: str) -> Message:
        system, said = self.system, self.system.messages[name]
        takers = system.who(name, TO)
        replies = list(dict.fromkeys(reply for operation in takers for reply in operation.replies))
        return self._brief(name)._replace(
            replies=replies,
            fields=fields(system, said.get("payload", {})),
            headers=fields(system, said.get("headers", {})),
            example=facts.example_of(said),
            problems=self._problems(name, said, takers),
            snippets=snippets(system, name),
            changes=history(system, self.library.released, name),
        )

    def _problems(self, name: str, said: Json, takers: Iterable[Operation]) -> list[tuple[str, list[Json]]]:
        """Return with what each service that answers the message may refuse it, or what the problem itself may be."""
        found = [("", list(said.get("x-problems", ())))]
        for operation in takers:
            if operation.service not in self._systems:
                continue
            messages = self._systems[operation.service].messages
            refusals = [reply for reply in operation.replies if self.system.kind_of(reply) == "problem" != name]
            found += [(operation.service, list(messages.get(reply, {}).get("x-problems", ()))) for reply in refusals]
        return [(service, problems) for service, problems in found if problems]

    def _by_kind(self) -> list[tuple[str, list[Message]]]:
        """Return every message in brief, by kind."""
        kinds = sorted({self.system.kind_of(name) for name in self.system.messages}, key=_rank)
        return [
            (kind, [self._brief(n) for n in self.system.messages if self.system.kind_of(n) == kind]) for kind in kinds
        ]

    def _brief(self, name: str) -> Message:
        system = self.system
        return Message(
            name=name,
            kind=system.kind_of(name),
            said=system.messages[name],
            channels=system.channels_of(name),
            senders=system.who(name, FROM),
            takers=system.who(name, TO),
            requests=system.requests_for(name),
        )

    def _cards(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "text": (said.get("description") or said["title"]).partition("\n")[0],
                "version": said["version"],
                "count": len(document.content.get("operations", {})),
            }
            for name, document in self.library.documents.items()
            for said in [document.content["info"]]
            if name != WHOLE
        ]

    def _page(self, template: str, title: str, here: str, **given: Any) -> str:
        scripts = [*given.pop("scripts", ()), "search.js"]
        return render(
            template,
            title=title,
            here=here,
            services=self.library.services,
            whole=WHOLE if WHOLE in self.library.documents else "",
            styles=[*given.pop("styles", ()), "portal.css"],
            scripts=scripts,
            asset=address,
            facts=facts,
            json=_json,
            links=_LINKS,
            **{"query": "", **given},
        )


def _title(document: str) -> str:
    return "The whole system" if document == WHOLE else document


def _rank(kind: str) -> tuple[int, str]:
    return (KINDS.index(kind) if kind in KINDS else len(KINDS), kind)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
