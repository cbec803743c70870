"""The pages that tell all of one service, and all of the HTTP API."""

import json
import re
from urllib.parse import unquote

import pytest
from httpx import AsyncClient

from apps.gateway.main import app as gateway
from portal.documents import FOLDER
from tests.support.html_page import Page
from tests.support.portal_examples import KNOWN, SERVICES
from tests.support.store import api, client_of


async def test_the_search_finds_calls_too() -> None:
    async with client_of(gateway) as http:
        html = (await http.get("/asyncapi/search", params={"q": "patch /users"})).text
        index = (await http.get("/asyncapi/search.json")).json()
        shown = (await http.get("/docs")).text
    link = Page(html.partition('<ol class="found">')[2]).links[0]
    assert link == "/docs#patch-/users/%7Buser_id%7D"
    assert f'id="{unquote(link.partition("#")[2])}"' in shown
    assert link in [href for _, _, _, href in index]


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_s_page_tells_all_that_it_does(client: AsyncClient, service: str) -> None:
    document = json.loads((FOLDER / f"{service}.json").read_bytes())
    page = Page((await client.get(f"/asyncapi/{service}")).text)
    assert {link for link in page.links if link[0] == "/"} <= KNOWN
    assert document["info"]["version"] in page.texts
    for key, operation in document["operations"].items():
        _, _, told = page.html.partition(f'id="{key}"')
        told = Page(told.partition("</article>")[0]).text
        channel = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        facts = operation["x-nats"]
        for said in [channel["address"], operation["summary"], facts["delivery"], facts["order"]]:
            assert said.replace("`", "") in told
        for message in operation["messages"] + operation.get("reply", {}).get("messages", []):
            assert message["$ref"].rpartition("/")[2] in told
    for server in document["servers"].values():
        assert f"nats://{server['host']}" in page.texts
    assert "userPassword" in page.texts


async def test_a_service_s_page_shows_the_fields_of_what_is_asked_and_answered(client: AsyncClient) -> None:
    html = (await client.get("/asyncapi/payments")).text
    assert '<tr id="GetPayment-PaymentView-amount">' in html
    assert '<tr id="CreatePayment-CreatePayment-currency">' in html
    assert html.count("<h1") == 1
    identifiers = re.findall(r' id="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))


async def test_the_http_api_s_page_tells_every_call_with_its_fields_and_its_answers() -> None:
    document = api(gateway).openapi()
    async with client_of(gateway) as http:
        html = (await http.get("/docs")).text
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            _, _, told = html.partition(f'id="{method}-{path}"')
            page = Page(told.partition("</article>")[0])
            assert f"/docs/try#/{said['tags'][0]}/{said['operationId']}" in page.links
            assert said["description"].replace("`", "") in page.text
            for parameter in said.get("parameters", []):
                assert parameter["name"] in page.texts
            for status, answer in said["responses"].items():
                assert status in page.text
                assert set(answer.get("headers", {})) <= set(page.texts)
    texts = set(Page(html).texts)
    schemas = document["components"]["schemas"]
    for name in ("NewPayment", "PaymentView", "UserChanges", "TokenAnswer", "ProblemDetails"):
        assert set(schemas[name]["properties"]) <= texts
    assert "at least 1; at most 9,007,199,254,740,991" in html
    identifiers = re.findall(r' id="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))
