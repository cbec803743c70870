"""The portal as a reader sees it: in Chromium, with no error, no other host, in the light, in the dark, on a phone."""

import itertools
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pydantic import BaseModel

from apps.gateway import portal
from kit.watching import ConsumerSeen, MessageSeen, ProcessSeen, Seen, StreamSeen

ROOT = Path(__file__).resolve().parent.parent.parent
MESSAGE = "/asyncapi/messages/PaymentCreated"
REFERENCE = "/asyncapi/users/reference"
PAGES = ["/asyncapi", "/asyncapi/users", REFERENCE, MESSAGE, "/asyncapi/search?q=amount", "/docs", "/docs/try"]
PHONE, DESK = 390, 1280

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_ABSENT = "There is no Chromium here: `apt-get install chromium` brings one."


class Greeting(BaseModel):
    """What is said."""

    name: str
    words: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(_ABSENT)
        pytest.skip(_ABSENT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        yield browser
        browser.close()


def going_on(moment: int) -> Seen:
    """A store that was looked at every two seconds: each time ten more payments are told of, and a service is away."""
    told = MessageSeen(sequence=moment, subject="payment.created", at="2026-01-31T12:00:00.125Z", body={"id": "string"})
    waiting = ConsumerSeen(name="payments-create_payment", waiting=7, unacknowledged=3, again=0)
    commands: tuple[str, list[ConsumerSeen], list[MessageSeen]] = ("PAYMENT_COMMANDS", [waiting], [])
    events: tuple[str, list[ConsumerSeen], list[MessageSeen]] = ("PAYMENT_EVENTS", [], [told])
    return Seen(
        at=datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(seconds=2 * moment),
        streams=[
            StreamSeen(name=name, messages=1234, bytes=1, last_sequence=20 * moment, consumers=consumers, last=last)
            for name, consumers, last in (commands, events)
        ],
        processes=[ProcessSeen(service="users", id="0123456789", requests=4 * moment, errors=1, milliseconds=1.5)],
    )


def application() -> FastAPI:
    """A small application with something to try out; the portal is still to be put into it."""
    app = FastAPI(title="Greetings", docs_url=None, redoc_url=None)

    @app.get("/greetings/{name}", operation_id="greet")
    def greet(name: str) -> Greeting:
        """Greet somebody."""
        return Greeting(name=name, words=f"Good day, {name}!")

    return app


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application on a port of its own; yields its address."""
    app.include_router(portal.router)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The portal as it is where nobody wants what goes on to be seen."""
    with serving(application()) as where:
        yield where


class Reader:
    """A reader with a window of one width, and what the browser had to complain of meanwhile."""

    def __init__(self, browser: Browser, address: str, *, width: int, scheme: Any) -> None:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        context.set_default_timeout(10_000)
        self.page: Page = context.new_page()
        self.address = address
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(request.url))
        self.page.on("request", lambda request: self._mind_the_host(request.url))

    def opens(self, path: str) -> Page:
        """Open a page and wait until it is drawn."""
        self.page.goto(self.address + path)
        return self.arrives(path)

    def arrives(self, path: str) -> Page:
        """Be on a page once it is drawn."""
        self.page.wait_for_url(self.address + path)
        self.page.wait_for_load_state("load")
        if self.page.locator("main [data-document]").count():
            expect(self.page.locator("main .waiting")).to_have_count(0, timeout=15_000)
            self.page.wait_for_load_state("networkidle")
        return self.page

    def _mind_the_host(self, url: str) -> None:
        if not url.startswith((f"{self.address}/", "data:")):
            self.complaints.append(f"a request to {url}")


@pytest.fixture
def reader(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Whatever a test does, nothing may be complained of at its end."""
    width, scheme = getattr(request, "param", (DESK, "light"))
    reader = Reader(browser, address, width=width, scheme=scheme)
    yield reader
    reader.page.context.close()
    assert reader.complaints == []


def test_the_reference_shows_every_channel_and_message_of_a_service(reader: Reader) -> None:
    document = json.loads((ROOT / "asyncapi/payments.json").read_bytes())
    page = reader.opens("/asyncapi/payments")
    page.get_by_role("link", name="drawn by AsyncAPI's own component").click()
    text = reader.arrives("/asyncapi/payments/reference").locator("#reference").inner_text()
    assert document["info"]["title"] in text
    assert "cannot be drawn" not in text
    for channel in document["channels"].values():
        if channel["address"]:  # that of a reply is told where it is asked for
            assert channel["address"] in text
            assert channel.get("description", "") in text
    for schema in document["components"]["schemas"]:
        assert page.locator(f'[id="schema-{schema}"]').count() == 1


def test_a_message_opens_down_to_its_fields_and_shows_its_example(reader: Reader) -> None:
    page = reader.opens(REFERENCE)
    heading = page.get_by_role("heading", name=re.compile(r"users\.create$"))
    operation = page.locator('li[id^="operation-"]', has=heading)
    expect(operation.locator("pre").get_by_text('"correct horse battery"')).to_be_visible()
    operation.get_by_role("button", name="Payload").first.click()
    expect(operation.get_by_text("password", exact=True)).to_be_visible()
    assert page.locator("#reference").locator("form, input, textarea, select").count() == 0
    buttons = page.locator("#reference button").all_inner_texts()
    assert not any("try" in text.lower() for text in buttons), "nothing here reaches a broker"


def test_the_http_api_can_be_read_and_tried(reader: Reader) -> None:
    page = reader.opens("/docs")
    page.get_by_text("Answer 200: Greeting").click()
    expect(page.get_by_role("cell", name="string").first).to_be_visible()
    page.get_by_role("link", name="Try GET /greetings/{name}").click()
    page = reader.arrives("/docs/try#/default/greet")
    page.get_by_role("button", name="Try it out").click()
    page.get_by_placeholder("name").fill("Ada")
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table").get_by_text("Good day, Ada!")).to_be_visible()


def test_the_map_leads_to_streams_and_messages(reader: Reader) -> None:
    for name, path in [
        (re.compile("^USER_EVENTS"), "/asyncapi/streams/USER_EVENTS"),
        (re.compile("^event PaymentCreated, subject payment.created$"), MESSAGE),
    ]:
        page = reader.opens("/asyncapi")
        page.locator("svg").get_by_role("link", name=name).click()
        reader.arrives(path)


def test_the_map_can_be_walked_by_keyboard_to_a_service(reader: Reader) -> None:
    page = reader.opens("/asyncapi")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    node = page.locator("svg").get_by_role("link", name="gateway sends or asks")
    for _ in range(2):  # what stands before the map is one link
        page.keyboard.press("Tab")
    expect(node).to_be_focused()
    assert node.locator("rect").evaluate("rect => getComputedStyle(rect).strokeWidth") == "2.5px"
    page.keyboard.press("Enter")
    reader.arrives("/asyncapi/gateway")


def test_a_search_is_typed_from_anywhere_and_chosen_with_the_arrows(reader: Reader) -> None:
    page = reader.opens("/asyncapi/messages")
    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="Search")
    expect(field).to_be_focused()
    page.keyboard.type("payment.amount")
    expect(page.get_by_role("option").first).to_contain_text("payment.amount")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_contain_text("of PaymentCreated")
    page.keyboard.press("Enter")
    page = reader.arrives(f"{MESSAGE}#field-payment.amount")
    expect(page.locator('[id="field-payment.amount"]')).to_be_visible()  # it opened what it stands in
    page.keyboard.press("/")
    page.keyboard.type("email-taken")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("option")).to_have_count(0)
    page.keyboard.press("Enter")  # nothing is chosen: the server's page
    page = reader.arrives("/asyncapi/search?q=email-taken")
    expect(page.get_by_role("main").get_by_role("link").first).to_have_text("email-taken")


def test_without_scripts_every_own_page_can_be_read_and_searched(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/asyncapi")
    page.get_by_role("searchbox", name="Search messages").fill("PaymentCreated")
    page.keyboard.press("Enter")
    page.get_by_role("main").get_by_role("link", name="PaymentCreated", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("PaymentCreated")
    expect(page.locator("pre.python")).to_contain_text("pull_subscribe")
    context.close()


@pytest.mark.parametrize("reader", [(PHONE, "light"), (PHONE, "dark"), (DESK, "dark")], indirect=True)
def test_a_page_fits_the_window_and_follows_the_system_into_the_dark(
    reader: Reader, request: pytest.FixtureRequest
) -> None:
    width, scheme = request.node.callspec.params["reader"]
    for path in PAGES:
        page = reader.opens(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert all(part < 64 for part in paper) if scheme == "dark" else all(part > 240 for part in paper), path
    page = reader.opens("/asyncapi")
    expect(page.locator("svg.map")).to_be_visible(visible=width > PHONE)
    expect(page.get_by_role("main").get_by_role("link", name="PaymentCreated", exact=True)).to_be_visible()


def test_what_goes_on_is_on_the_map_and_below_it(browser: Browser) -> None:
    app, moments = application(), itertools.count(1)
    app.state.live = "everybody"

    @app.get("/asyncapi/live.json", include_in_schema=False)
    def live() -> Seen:
        return going_on(next(moments))

    with serving(app) as where:
        reader = Reader(browser, where, width=DESK, scheme="light")
        page = reader.opens("/asyncapi")
        section = page.get_by_role("region", name="What goes on now")
        expect(section.get_by_role("row", name="PAYMENT_COMMANDS")).to_contain_text("7 waiting, 3 at work")
        expect(section.get_by_role("row", name="payment.created").last).to_contain_text('{"id":"string"}')
        box = page.locator('.map .box[data-stream="PAYMENT_EVENTS"]')
        expect(box.locator(".head .note")).to_have_text("1,234 kept · 10/s")
        expect(page.locator('.map .node[data-service="users"] .note').first).to_have_text("1 process · 2/s")
        expect(page.locator('.map .node[data-service="payments"].away')).to_have_count(2)
        page.goto("about:blank")  # where it asks no more
        page.context.close()
        assert reader.complaints == []


def test_an_admin_s_token_shows_what_goes_on_and_nothing_is_asked_without_one(browser: Browser) -> None:
    app, moments, tokens = application(), itertools.count(1), []
    app.state.live = "admins"

    @app.get("/asyncapi/live.json", include_in_schema=False)
    def live(authorization: Annotated[str, Header()] = "") -> Seen:
        tokens.append(authorization)
        if authorization != "Bearer an admin's":
            raise HTTPException(HTTPStatus.FORBIDDEN)
        return going_on(next(moments))

    with serving(app) as where:
        reader = Reader(browser, where, width=DESK, scheme="light")
        page = reader.opens("/asyncapi")
        section = page.get_by_role("region", name="What goes on now")
        field = section.get_by_label("An admin's access token")
        expect(field).to_be_visible()
        assert (tokens, reader.complaints) == ([], [])
        field.fill("somebody's")
        page.keyboard.press("Enter")
        field = section.get_by_label("This token is no admin's")
        field.fill("an admin's")
        section.get_by_role("button", name="Look").click()
        expect(section.get_by_role("row", name="PAYMENT_COMMANDS")).to_contain_text("7 waiting, 3 at work")
        expect(field).to_have_count(0)
        page.goto("about:blank")
        page.context.close()
        assert tokens[:2] == ["Bearer somebody's", "Bearer an admin's"]
