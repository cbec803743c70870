"""The pages of services and of the HTTP API."""

import json
import re
from urllib.parse import unquote

import pytest
from httpx import AsyncClient

from apps.gateway.main import app as gateway
from tests.support.html_page import Page
from tests.support.portal_examples import ADDRESSES, SERVICES
from tests.support.portal_host import DOCUMENTS
from tests.support.store import api, client_of


async def test_the_search_finds_calls() -> None:
    async with client_of(gateway) as http:
        html = (await http.get("/asyncapi/search", params={"q": "patch /users"})).text
        index = (await http.get("/asyncapi/search.json")).json()
        shown = (await http.get("/docs")).text
    link = Page(html.partition('<ol class="results">')[2]).links[0]
    assert link == "/docs#patch-/users/%7Buser_id%7D"
    assert f'id="{unquote(link.partition("#")[2])}"' in shown
    assert link in [href for _, _, _, href in index]


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_page_shows_all_its_operations(client: AsyncClient, service: str) -> None:
    document = json.loads((DOCUMENTS / f"{service}.json").read_bytes())
    page = Page((await client.get(f"/asyncapi/{service}")).text)
    assert {link for link in page.links if link[0] == "/"} <= ADDRESSES
    assert document["info"]["version"] in page.texts
    for key, operation in document["operations"].items():
        _, _, article = page.html.partition(f'id="{key}"')
        text = Page(article.partition("</article>")[0]).text
        channel = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        x_nats = operation["x-nats"]
        for value in [channel["address"], operation["summary"], x_nats["delivery"], x_nats["order"]]:
            assert value.replace("`", "") in text
        for message in operation["messages"] + operation.get("reply", {}).get("messages", []):
            assert message["$ref"].rpartition("/")[2] in text
    for server in document["servers"].values():
        assert f"nats://{server['host']}" in page.texts
    assert "userPassword" in page.texts


async def test_a_service_page_shows_the_fields_of_requests_and_replies(client: AsyncClient) -> None:
    html = (await client.get("/asyncapi/payments")).text
    assert '<tr id="RejectPayment-PaymentView-amount">' in html
    assert '<tr id="CreatePayment-CreatePayment-currency">' in html
    assert html.count("<h1") == 1
    identifiers = re.findall(r' id="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))


async def test_the_http_api_page_shows_every_call_with_fields_and_responses() -> None:
    document = api(gateway).openapi()
    async with client_of(gateway) as http:
        html = (await http.get("/docs")).text
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            _, _, article = html.partition(f'id="{method}-{path}"')
            page = Page(article.partition("</article>")[0])
            assert f"/docs/try#/{call['tags'][0]}/{call['operationId']}" in page.links
            for paragraph in call["description"].replace("`", "").split("\n\n"):
                assert paragraph in page.text
            for parameter in call.get("parameters", []):
                assert parameter["name"] in page.texts
            for status, response in call["responses"].items():
                assert status in page.text
                assert set(response.get("headers", {})) <= set(page.texts)
    texts = set(Page(html).texts)
    schemas = document["components"]["schemas"]
    for name in ("NewPayment", "PaymentView", "UserChanges", "IssuedSession", "ProblemDetails"):
        assert set(schemas[name]["properties"]) <= texts
    assert "at least 1; at most 9,007,199,254,740,991" in html
    identifiers = re.findall(r' id="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))
