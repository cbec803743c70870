"""The pages of the map, messages, streams and search, rendered from the documents alone."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from portal.delivery import ROLES
from tests.support.html_page import Page
from tests.support.portal_examples import ADDRESSES, MESSAGES, STREAMS, SYSTEM
from tests.support.portal_host import DOCUMENTS, host

OWN = ["/asyncapi", "/asyncapi/messages", "/asyncapi/search?q=amount", "/asyncapi/streams/USER_EVENTS"]
HOSTILE = '</code></script><script>alert("1")</script><img src=x onerror=alert(1)>{{ 7 * 7 }}`<b>`'


def links_to(name: str) -> str:
    return f'href="/asyncapi/messages/{name}"'


async def test_the_map_and_the_list_show_every_subject(client: AsyncClient) -> None:
    page = Page((await client.get("/asyncapi")).text)
    svg, _, listed = page.html.partition("</svg>")
    for channel in SYSTEM["channels"].values():
        if channel["address"]:
            (name,) = channel["messages"]
            assert channel["address"] in svg
            assert links_to(name) in svg
    for name in MESSAGES:
        assert links_to(name) in listed
    for stream in STREAMS:
        assert f'href="/asyncapi/streams/{stream}"' in svg
    assert svg.count('class="edge ') == len(SYSTEM["operations"])
    assert page.tags["title"] > 1  # one of them is in the SVG
    assert page.tags["desc"] == 1


@pytest.mark.parametrize("name", MESSAGES)
async def test_a_message_page_shows_its_whole_contract(client: AsyncClient, name: str) -> None:
    response = await client.get(f"/asyncapi/messages/{name}")
    page, message = Page(response.text), SYSTEM["components"]["messages"][name]
    assert (response.status_code, page.inline) == (200, [])
    assert (page.tags["h1"], page.tags["main"]) == (1, 1)
    assert {link for link in page.links if link[0] == "/"} <= ADDRESSES
    assert all(f'id="{link[1:]}"' in page.html for link in page.links if link[0] == "#")
    for part in ("payload", "headers"):
        schema = SYSTEM["components"]["schemas"][message[part]["$ref"].rpartition("/")[2]]
        for field in schema.get("properties", {}):
            assert field in page.texts
    for header, value in message["examples"][0]["headers"].items():
        assert f"{header}: {value}" in page.text
    assert json.dumps(message["examples"][0]["payload"], indent=2) in page.text
    for key, operation in SYSTEM["operations"].items():
        if any(message["$ref"].endswith(f"/{name}") for message in operation["messages"]):
            assert f"{key.partition('.')[0]} {ROLES[operation['x-nats']['role']].verb} it" in page.text
            assert operation["x-nats"]["delivery"].replace("`", "") in page.text
    assert ": added." in page.text


async def test_a_command_page_shows_storage_retries_and_dead_letters(client: AsyncClient) -> None:
    text = Page((await client.get("/asyncapi/messages/CreatePayment")).text).text
    for fact in [
        "payments.create.key.{paymentId}",
        "every message, until a limit is reached",
        "new messages are rejected",
        "within 2 minutes",
        "2 GiB",
        "2,000,000",
        "payments-create_payment",
        "explicit",
        "after 10 seconds",
        "at most 1,000",
        "unlimited",
        "10, with delays from 0.2 seconds to 30 seconds",
        "dead.payments.create.key.{paymentId}",
        "at least 1",
        "One of 176 values",
    ]:
        assert fact in text


async def test_a_request_page_shows_its_reply_and_problems(client: AsyncClient) -> None:
    page = Page((await client.get("/asyncapi/messages/RejectPayment")).text)
    assert {"/asyncapi/messages/PaymentView", "/asyncapi/messages/Problem"} <= set(page.links)
    assert {"internal-error", "service-unavailable"} <= set(page.texts)
    assert "email-taken" not in page.texts  # a problem of the users service
    assert "Queue group" in page.texts


async def test_a_nested_field_has_its_own_anchor(client: AsyncClient) -> None:
    html = (await client.get("/asyncapi/messages/PaymentCreated")).text
    assert '<tr id="field-payment">' in html
    assert '<tr id="field-payment.amount">' in html
    assert "The 8 fields of <code>payment</code>" in html


@pytest.mark.parametrize("stream", STREAMS)
async def test_a_stream_page_shows_its_messages_and_consumers(client: AsyncClient, stream: str) -> None:
    page = Page((await client.get(f"/asyncapi/streams/{stream}")).text)
    stored = [channel for channel in SYSTEM["channels"].values() if "x-nats" in channel]
    mine = [channel for channel in stored if channel["x-nats"]["stream"]["name"] == stream]
    assert mine
    for channel in mine:
        assert channel["address"] in page.texts
        assert all(f"/asyncapi/messages/{name}" in page.links for name in channel["messages"])
    for operation in SYSTEM["operations"].values():
        if operation["x-nats"].get("stream") != stream:
            continue
        if consumer := operation["x-nats"].get("consumer"):
            assert consumer["durable"] in page.texts
        if republished := operation["x-nats"].get("republished"):
            assert ", ".join(republished) in page.texts


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("PaymentCreated", "/asyncapi/messages/PaymentCreated"),
        ("payment.created", "/asyncapi/messages/PaymentCreated"),
        ("users", "/asyncapi/users"),
        ("user_events", "/asyncapi/streams/USER_EVENTS"),
        ("email-taken", "/asyncapi/messages/Problem#problems"),
        ("ce-id", "/asyncapi/messages/KeyRotated#headers"),
        ("payment.amount", "/asyncapi/messages/PaymentCreated#field-payment.amount"),
        ("minor unit jpy", "/asyncapi/messages/CreatePayment#field-amount"),
    ],
)
async def test_the_search_finds_every_kind_of_name(client: AsyncClient, query: str, first: str) -> None:
    html = (await client.get("/asyncapi/search", params={"q": query})).text
    assert Page(html.partition('<ol class="results">')[2]).links[0] == first
    entries = (await client.get("/asyncapi/search.json")).json()
    assert first in [href for _, _, _, href in entries]


async def test_an_empty_or_unknown_query_has_no_results(client: AsyncClient) -> None:
    assert "results" not in Page((await client.get("/asyncapi/search")).text).text
    assert "No results." in (await client.get("/asyncapi/search?q=zebra")).text
    response = await client.get("/asyncapi/search?q=" + "a" * 201)
    assert (response.status_code, response.json()["code"]) == (422, "invalid-request")
    assert response.json()["errors"][0]["pointer"] == "/query/q"


async def test_llms_txt_links_to_every_message_as_markdown(client: AsyncClient) -> None:
    response = await client.get("/llms.txt")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert (await client.get("/asyncapi/llms.txt")).content == response.content
    assert "&lt;" not in response.text
    links = re.findall(r"\]\(([^)]+)\)", response.text)
    assert {f"/asyncapi/messages/{name}.md" for name in MESSAGES} <= set(links)
    assert {"/openapi.json", "/asyncapi/mkstore.json", "/asyncapi/users.json"} <= set(links)
    for link in links:
        page = await client.get(link)
        assert page.status_code == 200, link
        if link.endswith(".md"):
            assert page.headers["content-type"] == "text/markdown; charset=utf-8"
            assert page.text.startswith(f"# {Path(link).stem}\n")
            assert "## Body" in page.text


@pytest.mark.parametrize("path", [*OWN, "/asyncapi/messages/CreatePayment", "/llms.txt", "/asyncapi/search.json"])
async def test_a_page_is_small_and_cacheable(client: AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert len(response.content) < 90_000
    assert response.headers["content-encoding"] == "gzip"
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert plain.content == response.content
    assert plain.headers["etag"] != response.headers["etag"]
    again = await client.get(path, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    ["/asyncapi/messages/Nobody", "/asyncapi/messages/Nobody.md", "/asyncapi/streams/NONE", "/asyncapi/nobody"],
)
async def test_an_unknown_name_is_a_problem(client: AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "not-found"


def poisoned(value: Any) -> Any:
    """Return the document with hostile text in its prose, names and literals."""
    if isinstance(value, dict):
        return {
            key: HOSTILE if key in _PROSE and isinstance(part, str) else poisoned(part) for key, part in value.items()
        }
    return [poisoned(part) for part in value] if isinstance(value, list) else value


_PROSE = {
    "summary",
    "description",
    "delivery",
    "order",
    "backOff",
    "durable",
    "contentType",
    "slug",
    "reason",
    "version",
}


@pytest.fixture
async def copy(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """A client of a portal that reads its documents from `tmp_path`."""
    async with AsyncClient(transport=ASGITransport(host(tmp_path)), base_url="http://portal.test") as client:
        yield client


async def test_hostile_text_in_a_document_stays_text(copy: AsyncClient, tmp_path: Path) -> None:
    name = '"><svg onload=alert(2)>'
    document = poisoned(SYSTEM)
    document["components"]["messages"][name] = document["components"]["messages"]["PaymentCreated"]
    document["channels"]["odd"] = {
        "address": 'odd"\n<svg onload=alert(3)>',
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "x-nats": {"stream": {"name": '<i>"S', "subjects": ["odd"]}},
    }
    (tmp_path / "mkstore.json").write_text(json.dumps(document), "utf-8")
    pages = ["/asyncapi", "/asyncapi/messages", "/asyncapi/search?q=%3Cscript%3E", "/asyncapi/mkstore"]
    pages += [f"/asyncapi/messages/{known}" for known in ("CreatePayment", "GetUsers", "Problem")]
    pages += ["/asyncapi/messages/%22%3E%3Csvg%20onload=alert(2)%3E", "/asyncapi/streams/%3Ci%3E%22S"]
    for path in pages:
        response = await copy.get(path)
        page = Page(response.text)
        assert response.status_code == 200, path
        assert page.inline == [], path
        assert not {"b", "i"} & set(page.tags), path
        assert page.tags["script"] == len(page.scripts), path
        assert page.tags["img"] == 1, path  # the icon in the header
        assert "49" not in page.texts, path


async def test_the_history_lists_the_versions_that_changed_a_message(copy: AsyncClient, tmp_path: Path) -> None:
    shutil.copy(DOCUMENTS / "mkstore.json", tmp_path)
    old = json.loads(json.dumps(SYSTEM))
    view = old["components"]["schemas"]["PaymentView"]
    view["description"] = "The same schema with another description."
    for version in ("0.2.0", "0.9.0", "0.10.0"):
        if version == "0.10.0":
            del view["properties"]["reason"]
            view["properties"]["amount"]["minimum"] = 1
        (tmp_path / "released" / version).mkdir(parents=True)
        (tmp_path / "released" / version / "payments.json").write_text(json.dumps(old), "utf-8")
        (tmp_path / "released" / version / "openapi-gateway.json").write_text("{}", "utf-8")
    text = Page((await copy.get("/asyncapi/messages/PaymentCreated")).text).text
    history = " ".join(text[text.rindex("History") :].split())
    assert history.startswith(
        "History unreleased: changed; new payment.reason; different payment.amount. "
        "0.10.0: changed; removed payment.reason; different payment.amount. 0.2.0: added."
    )
    text = Page((await copy.get("/asyncapi/messages/UserCreated")).text).text
    assert " ".join(text[text.rindex("History") :].split()).startswith("History 0.2.0: added.")
