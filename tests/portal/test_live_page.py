"""Live figures on the map, in Chromium."""

import itertools
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from playwright.sync_api import BrowserContext, expect
from starlette.exceptions import HTTPException
from starlette.requests import Request

from portal.live import ConsumerSnapshot, MessageSnapshot, ProcessSnapshot, Snapshot, StreamSnapshot
from tests.support.browser import DESKTOP, Reader, serve
from tests.support.portal_host import host


def snapshot_at(moment: int) -> Snapshot:
    """Return one of a series of snapshots: two seconds and 20 messages apart, with one service down."""
    message = MessageSnapshot(
        sequence=moment, subject="payment.created", at="2026-01-31T12:00:00.125Z", body={"id": "string"}
    )
    consumer = ConsumerSnapshot(name="payments-create_payment", pending=7, unacknowledged=3, redelivered=0)
    commands: tuple[str, list[ConsumerSnapshot], list[MessageSnapshot]] = ("PAYMENT_COMMANDS", [consumer], [])
    events: tuple[str, list[ConsumerSnapshot], list[MessageSnapshot]] = ("PAYMENT_EVENTS", [], [message])
    return Snapshot(
        at=datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(seconds=2 * moment),
        streams=[
            StreamSnapshot(name=name, messages=1234, bytes=1, last_sequence=20 * moment, consumers=consumers, last=last)
            for name, consumers, last in (commands, events)
        ],
        processes=[ProcessSnapshot(service="users", id="0123456789", requests=4 * moment, errors=1, milliseconds=1.5)],
    )


class SeriesMonitor:
    """Returns the next snapshot of the series each time."""

    def __init__(self) -> None:
        self._moments = itertools.count(1)

    async def snapshot(self) -> Snapshot:
        return snapshot_at(next(self._moments))


def test_live_figures_are_on_the_map_and_in_tables(context: BrowserContext) -> None:
    with serve(host(monitor=SeriesMonitor())) as address:
        reader = Reader(context, address, width=DESKTOP, scheme="light")
        page = reader.open("/asyncapi")
        section = page.get_by_role("region", name="Live figures")
        expect(section.get_by_role("row", name="PAYMENT_COMMANDS")).to_contain_text("7 pending, 3 unacknowledged")
        expect(section.get_by_role("row", name="payment.created").last).to_contain_text('{"id":"string"}')
        box = page.locator('.map .box[data-stream="PAYMENT_EVENTS"]')
        expect(box.locator(".head .note")).to_have_text("1,234 messages · 10/s")
        expect(page.locator('.map .node[data-service="users"] .note').first).to_have_text("1 process · 2/s")
        expect(page.locator('.map .node[data-service="payments"].down')).to_have_count(2)
        page.goto("about:blank")  # stops the polling
        page.close()
        assert reader.errors == []


def test_the_page_asks_for_an_admin_token_before_any_request(context: BrowserContext) -> None:
    tokens = []

    async def authorize(request: Request) -> dict[str, str]:
        tokens.append(request.headers.get("Authorization"))
        if tokens[-1] != "Bearer admin":
            raise HTTPException(HTTPStatus.FORBIDDEN)
        return {}

    with serve(host(monitor=SeriesMonitor(), authorize=authorize)) as address:
        reader = Reader(context, address, width=DESKTOP, scheme="light")
        page = reader.open("/asyncapi")
        section = page.get_by_role("region", name="Live figures")
        field = section.get_by_label("Access token of an admin")
        expect(field).to_be_visible()
        assert (tokens, reader.errors) == ([], [])
        field.fill("user")
        page.keyboard.press("Enter")
        field = section.get_by_label("This token does not belong to an admin")
        field.fill("admin")
        section.get_by_role("button", name="Show").click()
        expect(section.get_by_role("row", name="PAYMENT_COMMANDS")).to_contain_text("7 pending, 3 unacknowledged")
        expect(field).to_have_count(0)
        page.goto("about:blank")
        page.close()
        assert tokens[:2] == ["Bearer user", "Bearer admin"]
