"""The setting that closes the documentation site: its addresses are then unknown, and the API stays the same."""

import pytest

from tests.support.memory_store import in_memory

ADDRESSES = [
    "/",
    "/docs",
    "/openapi.json",
    "/openapi.yaml",
    "/asyncapi",
    "/asyncapi/users.json",
    "/asyncapi/users.yaml",
    "/llms.txt",
    "/problems",
]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_closed_documentation_is_not_found(address: str) -> None:
    async with in_memory(documentation="closed") as store:
        response = await store.http.get(address)
        assert (response.status_code, response.json()["code"]) == (404, "not-found")


async def test_api_is_served_with_closed_documentation() -> None:
    async with in_memory(documentation="closed") as store:
        ada = await store.sign_up()
        assert (await ada.get("/users/me")).json() == ada.user
        assert (await store.http.get("/health/live")).status_code == 200


async def test_documentation_is_open_by_default() -> None:
    async with in_memory() as store:
        assert {(await store.http.get(address)).status_code for address in ADDRESSES[1:]} == {200}
