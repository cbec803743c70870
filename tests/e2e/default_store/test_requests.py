"""The portal of a running store shows what a request caused, in every process that took part."""

import httpx
import pytest

from tests.support.html_page import Page
from tests.support.http_client import sign_up
from tests.support.polling import eventually

CHAIN = (
    "POST /payments",
    "process payments-create_payments",
    "INSERT payments",
    "COMMIT",
    "send payment.created",
)
"""Operations on the page of a payment, from the request to its event."""


async def test_payment_is_a_waterfall_through_every_service(http: httpx.AsyncClient) -> None:
    payer = await sign_up(http)
    request_id = "traced-payment"
    paid = await payer("POST", "/payments", json={"amount": 100}, headers={"X-Request-Id": request_id})
    assert (paid.status_code, paid.headers["X-Request-Id"]) == (202, request_id)
    page = ""

    async def complete() -> bool:
        nonlocal page
        page = (await http.get(f"/asyncapi/requests/{request_id}")).text
        return all(operation in Page(page).text for operation in CHAIN)

    await eventually(complete, describe=lambda: page)
    assert 'class="subject used" aria-label="event PaymentCreated' in page
    assert payer.token not in page
    assert payer.email not in page


@pytest.mark.parametrize("path", ["/asyncapi/requests", "/asyncapi/requests/unknown"])
async def test_newest_requests_are_listed(http: httpx.AsyncClient, path: str) -> None:
    payer = await sign_up(http)
    await payer("GET", "/users/me", headers={"X-Request-Id": "traced-read"})

    async def listed() -> bool:
        return "/asyncapi/requests/traced-read" in Page((await http.get(path)).text).links

    await eventually(listed)
