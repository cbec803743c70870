"""The portal in Chromium: no errors, no other host, light and dark, on desktop and phone."""

import json
import re

import pytest
from playwright.sync_api import Browser, expect

from tests.conftest import ROOT
from tests.support.browser import DESKTOP, PHONE, Reader, Scheme

MESSAGE = "/asyncapi/messages/PaymentCreated"
REFERENCE = "/asyncapi/users/reference"
VARIANTS: list[tuple[int, Scheme]] = [(PHONE, "light"), (PHONE, "dark"), (DESKTOP, "dark")]
PAGES = ["/asyncapi", "/asyncapi/users", REFERENCE, MESSAGE, "/asyncapi/search?q=amount", "/docs", "/docs/try"]


def test_the_reference_shows_every_channel_and_message_of_a_service(reader: Reader) -> None:
    document = json.loads((ROOT / "asyncapi/payments.json").read_bytes())
    page = reader.open("/asyncapi/payments")
    page.get_by_role("link", name="AsyncAPI's own component").click()
    text = reader.wait_for("/asyncapi/payments/reference").locator("#reference").inner_text()
    assert document["info"]["title"] in text
    assert "cannot be rendered" not in text
    for channel in document["channels"].values():
        if channel["address"]:  # the address of a reply is in its request
            assert channel["address"] in text
            assert channel.get("description", "") in text
    for schema in document["components"]["schemas"]:
        assert page.locator(f'[id="schema-{schema}"]').count() == 1


def test_a_message_opens_down_to_its_fields_and_shows_its_example(reader: Reader) -> None:
    page = reader.open(REFERENCE)
    heading = page.get_by_role("heading", name=re.compile(r"users\.create$"))
    operation = page.locator('li[id^="operation-"]', has=heading)
    expect(operation.locator("pre").get_by_text('"correct horse battery"')).to_be_visible()
    operation.get_by_role("button", name="Payload").first.click()
    expect(operation.get_by_text("password", exact=True)).to_be_visible()
    assert page.locator("#reference").locator("form, input, textarea, select").count() == 0
    buttons = page.locator("#reference button").all_inner_texts()
    assert not any("try" in text.lower() for text in buttons), "the reference must not send messages"


def test_the_http_api_can_be_read_and_tried(reader: Reader) -> None:
    page = reader.open("/docs")
    page.get_by_text("Response 200: Greeting").click()
    expect(page.get_by_role("cell", name="string").first).to_be_visible()
    page.get_by_role("link", name="Try GET /greetings/{name}").click()
    page = reader.wait_for("/docs/try#/default/greet")
    page.get_by_role("button", name="Try it out").click()
    page.get_by_placeholder("name").fill("Ada")
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table").get_by_text("Good day, Ada!")).to_be_visible()


def test_the_map_links_to_streams_and_messages(reader: Reader) -> None:
    for name, path in [
        (re.compile("^USER_EVENTS"), "/asyncapi/streams/USER_EVENTS"),
        (re.compile("^event PaymentCreated, subject payment.created$"), MESSAGE),
    ]:
        page = reader.open("/asyncapi")
        page.locator("svg").get_by_role("link", name=name).click()
        reader.wait_for(path)


def test_a_service_on_the_map_is_reachable_by_keyboard(reader: Reader) -> None:
    page = reader.open("/asyncapi")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    node = page.locator("svg").get_by_role("link", name="gateway publishes")
    for _ in range(2):  # one link is before the map
        page.keyboard.press("Tab")
    expect(node).to_be_focused()
    assert node.locator("rect").evaluate("rect => getComputedStyle(rect).strokeWidth") == "2.5px"
    page.keyboard.press("Enter")
    reader.wait_for("/asyncapi/gateway")


def test_search_opens_with_slash_and_selects_with_arrow_keys(reader: Reader) -> None:
    page = reader.open("/asyncapi/messages")
    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="Search")
    expect(field).to_be_focused()
    page.keyboard.type("payment.amount")
    expect(page.get_by_role("option").first).to_contain_text("payment.amount")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_contain_text("of PaymentCreated")
    page.keyboard.press("Enter")
    page = reader.wait_for(f"{MESSAGE}#field-payment.amount")
    expect(page.locator('[id="field-payment.amount"]')).to_be_visible()  # the page opened the enclosing details
    page.keyboard.press("/")
    page.keyboard.type("email-taken")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("option")).to_have_count(0)
    page.keyboard.press("Enter")  # no option is selected: the search page opens
    page = reader.wait_for("/asyncapi/search?q=email-taken")
    expect(page.get_by_role("main").get_by_role("link").first).to_have_text("email-taken")


def test_pages_and_search_work_without_scripts(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/asyncapi")
    page.get_by_role("searchbox", name="Search calls").fill("PaymentCreated")
    page.keyboard.press("Enter")
    page.get_by_role("main").get_by_role("link", name="PaymentCreated", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("PaymentCreated")
    expect(page.locator("pre.python")).to_contain_text("pull_subscribe")
    context.close()


@pytest.mark.parametrize("reader", [(PHONE, "light")], indirect=True)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_the_window_and_follows_the_color_scheme(reader: Reader, path: str) -> None:
    page = reader.open(path)
    for width, scheme in VARIANTS:
        reader.show(width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert all(part < 64 if scheme == "dark" else part > 240 for part in background)


@pytest.mark.parametrize("reader", [(PHONE, "light")], indirect=True)
def test_a_phone_shows_the_list_instead_of_the_map(reader: Reader) -> None:
    page = reader.open("/asyncapi")
    for width, scheme in VARIANTS:
        reader.show(width, scheme)
        expect(page.locator("svg.map")).to_be_visible(visible=width > PHONE)
        expect(page.get_by_role("main").get_by_role("link", name="PaymentCreated", exact=True)).to_be_visible()
