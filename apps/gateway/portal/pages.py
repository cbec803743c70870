"""The portal's pages as HTML: a frame that all of them share, and what is inside."""

from collections.abc import Iterable
from html import escape

from apps.gateway.portal.assets import address
from apps.gateway.portal.documents import Document


def index(documents: Iterable[Document]) -> str:
    """Show the services, a card each."""
    found = {document.service: document for document in documents}
    cards = "".join(_card(document) for document in found.values())
    return _frame(
        title="Messages",
        here="/asyncapi",
        services=found,
        body=f"""
<main class="plain">
<h1>Messages</h1>
<p class="lead">What each service is asked, told and says over NATS, as AsyncAPI.
What clients use is the <a href="/docs">HTTP API</a>.</p>
<div class="cards">{cards or "<p>There are no documents here: <code>mkstore docs</code> writes them.</p>"}</div>
</main>""",
    )


def reference(document: Document, services: Iterable[str]) -> str:
    """Show one document, drawn by AsyncAPI's own component."""
    name = escape(document.service)
    return _frame(
        title=f"{name} · Messages",
        here=f"/asyncapi/{name}",
        services=services,
        styles=["default.min.css", "reference.css"],
        scripts=["without-eval.js", "without-parser.js", "reference.js"],
        body=f"""
<main id="reference" data-document="/asyncapi/{name}.json"><p class="waiting">The reference is being drawn.</p></main>
<footer><a href="/asyncapi/{name}.json">The document as JSON</a></footer>""",
    )


def http_api(services: Iterable[str]) -> str:
    """Show the HTTP API, drawn by Swagger UI."""
    return _frame(
        title="HTTP API",
        here="/docs",
        services=services,
        styles=["swagger-ui.css", "http-api.css"],
        scripts=["swagger-ui-bundle.js", "http-api.js"],
        body="""
<main id="http-api" data-document="/openapi.json"><p class="waiting">The reference is being drawn.</p></main>
<footer><a href="/openapi.json">The document as JSON</a></footer>""",
    )


def _card(document: Document) -> str:
    content, name = document.content, escape(document.service)
    info = content["info"]
    count = len(content.get("operations", {}))
    facts = f"{count} operation{'' if count == 1 else 's'} · version {escape(info['version'])}"
    return f"""
<article>
<h2><a href="/asyncapi/{name}">{name}</a></h2>
<p>{escape((info.get("description") or info["title"]).partition(chr(10))[0])}</p>
<p class="facts">{facts} · <a href="/asyncapi/{name}.json">JSON</a></p>
</article>"""


def _frame(
    *,
    title: str,
    here: str,
    services: Iterable[str],
    body: str,
    styles: Iterable[str] = (),
    scripts: Iterable[str] = (),
) -> str:
    style = "".join(f'<link rel="stylesheet" href="{address(name)}">\n' for name in [*styles, "portal.css"])
    script = "".join(f'<script defer src="{address(name)}"></script>\n' for name in scripts)
    links = [("/docs", "HTTP API"), ("/asyncapi", "Messages")]
    links += [(f"/asyncapi/{escape(service)}", escape(service)) for service in services]
    nav = "".join(f'<a href="{to}"{" aria-current=page" if to == here else ""}>{text}</a>\n' for to, text in links)
    needs_script = "<noscript><p>This page is drawn by a script.</p></noscript>" if script else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · mkstore</title>
<link rel="icon" type="image/svg+xml" href="{address("favicon.svg")}">
{style}{script}</head>
<body>
<header>
<a class="brand" href="/asyncapi"><img src="{address("favicon.svg")}" alt="" width="24" height="24">mkstore</a>
<nav aria-label="Documentation">
{nav}</nav>
</header>
{needs_script}{body}
</body>
</html>
"""
