"""The pages of requests: a recorded payment as a waterfall, over HTTP and in Chromium."""

from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from httpx import ASGITransport, AsyncClient
from playwright.sync_api import Browser, BrowserContext, expect
from starlette.exceptions import HTTPException
from starlette.requests import Request

from kit.errors import Unavailable
from mkstore.traces import views
from mkstore.traces.store import SpanStore
from portal.traces import RECEIVER, RequestList, RequestView
from tests.support.browser import DESKTOP, PHONE, Reader, serve
from tests.support.html_page import Page
from tests.support.payment_spans import FIRST, INSERT, SECOND, stored_payments
from tests.support.portal_host import host

HOSTILE = '"><script>alert(1)</script>{{ 7 * 7 }}'


class StoredTraces:
    """Traces of a store in this process."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store

    async def newest(self) -> RequestList:
        return views.newest(self._store)

    async def request(self, request_id: str) -> RequestView | None:
        return views.request(self._store, request_id)


class NoReceiver:
    """The receiver is away."""

    async def newest(self) -> RequestList:
        raise Unavailable(RECEIVER)

    async def request(self, request_id: str) -> RequestView | None:
        raise Unavailable(RECEIVER)


@pytest.fixture
async def traced() -> AsyncIterator[AsyncClient]:
    app = host(traces=StoredTraces(stored_payments()))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://portal.test") as client:
        yield client


async def test_without_a_receiver_there_are_no_pages(client: AsyncClient) -> None:
    for path in ("/asyncapi/requests", f"/asyncapi/requests/{FIRST}"):
        assert (await client.get(path)).status_code == 404
    assert "/asyncapi/requests" not in (await client.get("/asyncapi")).text


async def test_list_has_the_newest_requests(traced: AsyncClient) -> None:
    response = await traced.get("/asyncapi/requests")
    page = Page(response.text)
    assert (response.status_code, page.inline, response.headers["cache-control"]) == (200, [], "no-store")
    assert [link for link in page.links if link.startswith("/asyncapi/requests/")] == [
        f"/asyncapi/requests/{SECOND}",
        f"/asyncapi/requests/{FIRST}",
    ]
    assert {"POST /payments", "202", "9.00 ms", "14"} <= set(page.texts)
    assert (page.tags["h1"], page.tags["main"]) == (1, 1)
    for place in ("/asyncapi", "/asyncapi/messages"):
        assert "/asyncapi/requests" in Page((await traced.get(place)).text).links


async def test_request_shows_services_subjects_rows_and_times(traced: AsyncClient) -> None:
    for path in (f"/asyncapi/requests/{FIRST}", f"/asyncapi/requests?id=+{FIRST}+"):
        response = await traced.get(path)
        page = Page(response.text)
        assert (response.status_code, page.inline) == (200, [])
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert response.text.count("<details") == 14
        assert all(f'id="{link[1:]}"' in response.text for link in page.links if link[0] == "#")
        assert INSERT in page.text
        for text in ("INSERT payments", "DELETE outbox", "SELECT users", "send users.get_many", "2 rows", "2 messages"):
            assert text in page.text
        assert "starts after 10.2 ms, lasts 2.70 ms" in page.text
    assert 'class="bar" viewBox="0 0 1000 10"' in response.text


async def test_map_shows_what_the_request_used(traced: AsyncClient) -> None:
    """Both sides of each subject, of the services that published and consumed."""
    text = (await traced.get(f"/asyncapi/requests/{SECOND}")).text
    svg = text[text.index('<svg class="map traced"') :].partition("</svg>")[0]
    edges = [part.partition(">")[0] for part in svg.split("<path ") if part.startswith('class="edge ')]
    used = {
        (edge.partition('data-service="')[2].partition('"')[0], edge.split()[1], edge.split()[2])
        for edge in edges
        if " used" in edge
    }
    assert used == {
        ("gateway", "request", "requests"),
        ("users", "request", "replies"),
        ("gateway", "command", "publishes"),
        ("payments", "command", "consumes"),
        ("payments", "event", "publishes"),
        ("gateway", "event", "subscribes"),
    }
    subjects = {part.partition('aria-label="')[2].partition('"')[0] for part in svg.split('class="subject used"')[1:]}
    assert subjects == {
        "request GetUsers, subject users.get_many",
        "command CreatePayments, subject payments.create.batch.{batch}",
        "event PaymentCreated, subject payment.created",
    }
    assert ' used"' not in (await traced.get("/asyncapi")).text


async def test_unknown_request_is_a_page_with_the_list(traced: AsyncClient) -> None:
    response = await traced.get("/asyncapi/requests", params={"id": HOSTILE})
    page = Page(response.text)
    assert (response.status_code, page.inline) == (404, [])
    assert "<script>alert" not in response.text
    assert f"There are no spans of the request {HOSTILE}" in page.text
    assert f"/asyncapi/requests/{FIRST}" in page.links
    assert (await traced.get("/asyncapi/requests/unknown")).status_code == 404


async def test_receiver_that_is_away_is_a_problem(traced: AsyncClient) -> None:
    async with AsyncClient(transport=ASGITransport(host(traces=NoReceiver())), base_url="http://portal.test") as client:
        for path in ("/asyncapi/requests", f"/asyncapi/requests/{FIRST}"):
            response = await client.get(path)
            assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
            assert response.json()["detail"] == "The receiver of traces is unavailable."


def test_waterfall_is_read_by_keyboard(context: BrowserContext) -> None:
    with serve(host(traces=StoredTraces(stored_payments()))) as address:
        reader = Reader(context, address, width=DESKTOP, scheme="light")
        page = reader.open("/asyncapi/requests")
        page.get_by_label("X-Request-Id").fill(FIRST)
        page.keyboard.press("Enter")
        page = reader.wait_for(f"/asyncapi/requests?id={FIRST}")
        expect(page.get_by_role("heading", level=1)).to_have_text("POST /payments")
        rows = page.get_by_role("list", name="Spans in the order of time").get_by_role("listitem")
        expect(rows).to_have_count(14)
        row = rows.filter(has_text="INSERT").first
        summary = row.locator("summary")
        summary.focus()
        expect(row.get_by_text(INSERT)).not_to_be_visible()
        page.keyboard.press("Enter")
        expect(row.get_by_text(INSERT)).to_be_visible()
        assert summary.evaluate("summary => getComputedStyle(summary).outlineStyle") == "solid"
        bars = [row.locator(".bar rect").bounding_box() for row in rows.all()]
        lefts = [bar["x"] for bar in bars if bar]
        assert len(lefts) == 14
        assert lefts[0] == min(lefts)
        assert max(lefts) > lefts[0] + 100
        page.close()
        assert reader.errors == []


def test_waterfall_fits_a_phone_in_the_dark(context: BrowserContext) -> None:
    with serve(host(traces=StoredTraces(stored_payments()))) as address:
        reader = Reader(context, address, width=PHONE, scheme="dark")
        for path in ("/asyncapi/requests", f"/asyncapi/requests/{FIRST}"):
            page = reader.open(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
            background = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
            assert all(part < 64 for part in background)
        expect(page.locator(".bar").first).to_be_visible()
        page.close()
        assert reader.errors == []


def test_page_asks_an_admin_for_the_token(context: BrowserContext, browser: Browser) -> None:
    async def authorize(request: Request) -> dict[str, str]:
        if request.headers.get("Authorization") != "Bearer admin":
            raise HTTPException(HTTPStatus.FORBIDDEN)
        return {}

    with serve(host(authorize=authorize, traces=StoredTraces(stored_payments()))) as address:
        reader = Reader(context, address, width=DESKTOP, scheme="light")
        page = reader.open(f"/asyncapi/requests/{FIRST}")
        assert FIRST not in page.content()
        assert reader.errors == []
        page.get_by_label("Access token of an admin").fill("user")
        page.keyboard.press("Enter")
        field = page.get_by_label("This token does not belong to an admin")
        field.fill("admin")
        reader.errors.clear()  # the browser reports the refused request
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("POST /payments")
        page.get_by_role("main").get_by_role("link", name="Requests", exact=True).click()
        reader.wait_for("/asyncapi/requests")
        page.get_by_role("link", name="POST /payments").first.click()
        reader.wait_for(f"/asyncapi/requests/{SECOND}")
        expect(page.get_by_role("code").first).to_have_text(SECOND)
        page.close()
        assert reader.errors == []
