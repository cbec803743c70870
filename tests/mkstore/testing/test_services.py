"""Which services run in a store in memory."""

from pathlib import Path

import pytest

from contracts.payments import GetPayments
from contracts.users import GetUsers, UserCreated
from kit.errors import Unavailable
from mkstore.services import SERVICES
from mkstore.testing import MemoryStore, ServiceNotFound, StoreRuns, in_memory, services


async def test_all_services_of_the_project_run(store: MemoryStore) -> None:
    assert set(store.services) == {spec.name for spec in SERVICES}


def test_fakes_belong_to_services() -> None:
    folder = Path(services.__file__).parent
    assert {path.stem for path in folder.glob("[!_]*.py")} == {spec.name for spec in SERVICES}


async def test_service_without_fakes_is_named() -> None:
    with pytest.raises(ServiceNotFound, match=r"mkstore/testing/services/invoices\.py"):
        async with in_memory(services=["users", "invoices"]):
            raise AssertionError("it does not start")


async def test_second_store_at_once_is_refused(store: MemoryStore) -> None:
    with pytest.raises(StoreRuns):
        async with in_memory(services=["users"]):
            raise AssertionError("it does not start")
    assert (await store.sign_up()).id


async def test_chosen_services_run_alone() -> None:
    async with in_memory(services=["users"]) as store:
        assert (await store.request(GetUsers(ids=()))).users == ()
        with pytest.raises(Unavailable):
            await store.request(GetPayments(ids=()))
        assert "gateway does not run" in (await store.http.get("/users/me")).text


async def test_settings_of_one_service_are_replaced() -> None:
    async with in_memory(settings={"payments": {"payment_limit": 100}}) as store:
        payment = await (await store.sign_up()).paid(amount=101)
    assert (payment["status"], payment["reason"]) == ("rejected", "amount-over-limit")


async def test_admin_may_list_users(store: MemoryStore) -> None:
    admin, ada = await store.admin(), await store.sign_up()
    assert {user["id"] for user in (await admin.get("/users")).json()["data"]} == {admin.id, ada.id}
    assert (await ada.get("/users")).status_code == 403


async def test_stores_do_not_share_anything() -> None:
    for _ in range(2):
        async with in_memory() as store:
            await store.sign_up(email="ada@example.com")
            assert len(await store.published(UserCreated)) == 1


async def test_event_stream_of_a_user(store: MemoryStore) -> None:
    ada = await store.sign_up()
    async with store.events(ada) as stream:
        payment = await ada.paid()
        [event] = await stream.until(1)
    assert (event.type, event.data["payment"]["id"]) == ("payment.created", payment["id"])
