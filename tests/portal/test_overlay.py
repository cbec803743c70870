"""What goes on now, as a reader of the map sees it."""

import itertools
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import Header, HTTPException
from playwright.sync_api import Browser, expect

from portal.live import ConsumerSnapshot, MessageSnapshot, ProcessSnapshot, Snapshot, StreamSnapshot
from tests.support.browser import DESK, Reader, application, serving


def going_on(moment: int) -> Snapshot:
    """A store that was looked at every two seconds: each time ten more payments are told of, and a service is away."""
    told = MessageSnapshot(
        sequence=moment, subject="payment.created", at="2026-01-31T12:00:00.125Z", body={"id": "string"}
    )
    waiting = ConsumerSnapshot(name="payments-create_payment", waiting=7, unacknowledged=3, again=0)
    commands: tuple[str, list[ConsumerSnapshot], list[MessageSnapshot]] = ("PAYMENT_COMMANDS", [waiting], [])
    events: tuple[str, list[ConsumerSnapshot], list[MessageSnapshot]] = ("PAYMENT_EVENTS", [], [told])
    return Snapshot(
        at=datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(seconds=2 * moment),
        streams=[
            StreamSnapshot(name=name, messages=1234, bytes=1, last_sequence=20 * moment, consumers=consumers, last=last)
            for name, consumers, last in (commands, events)
        ],
        processes=[ProcessSnapshot(service="users", id="0123456789", requests=4 * moment, errors=1, milliseconds=1.5)],
    )


def test_what_goes_on_is_on_the_map_and_below_it(browser: Browser) -> None:
    app, moments = application(), itertools.count(1)
    app.state.live = "everybody"

    @app.get("/asyncapi/live.json", include_in_schema=False)
    def live() -> Snapshot:
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
    def live(authorization: Annotated[str, Header()] = "") -> Snapshot:
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
