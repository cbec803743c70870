"""A full queue of payment commands on a real nats-server."""

from collections.abc import Iterator

import pytest

from apps.gateway.main import STREAMS, create_app, create_dependencies
from mkstore.stack.servers import NatsServer
from tests.conftest import NewDatabase
from tests.support.provisioning import ProvisionedBroker, provision
from tests.support.real_store import Servers, on_real_servers
from tests.support.store import SignedInUser, client_of, running, settings


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase) -> Iterator[Servers]:
    """Run a nats-server for this test only: its queue is short."""
    with NatsServer(tmp_path_factory.mktemp("full")) as nats:
        provision(nats.url)
        yield Servers(nats.url, new_database("users"), new_database("payments"))


async def test_full_queue_refuses_and_loses_nothing(servers: Servers) -> None:
    async with on_real_servers(servers) as store:
        ada = await store.sign_up()
    short = [each.model_copy(update={"max_bytes": 4096}) for each in STREAMS[:2]] + [*STREAMS[2:]]
    broker = ProvisionedBroker(servers.nats_url, name="a gateway with a short queue", streams=short)
    options = settings(nats_url=servers.nats_url)
    app = create_app(options, create_dependencies(options, broker))
    accepted: dict[str, str] = {}
    async with running(servers.app("users")), running(app), client_of(app) as http:
        ada = SignedInUser(http, ada.user, ada.token)
        for number in range(40):
            key = f"{ada.id} {number}"
            response = await ada.pay(key, amount=number + 1)
            if response.status_code == 503:
                break
            assert response.status_code == 202
            accepted[key] = response.json()["id"]
        assert 3 < len(accepted) < 40
        problem = response.json()
        assert (problem["code"], problem["detail"]) == ("service-unavailable", "The payment queue is unavailable.")
        assert response.headers["retry-after"] == "1"
        without_key = 0
        while (status := (await ada.pay()).status_code) == 202:
            without_key += 1
        assert status == 503
        assert 3 < without_key < 40
        repetition = await ada.pay(next(iter(accepted)), amount=1)  # its command is in the queue
        assert (repetition.status_code, repetition.headers["idempotent-replayed"]) == (202, "true")
    provision(servers.nats_url)  # with the sizes of the contracts
    async with on_real_servers(servers) as store:
        ada = SignedInUser(store.http, ada.user, ada.token)
        for number, payment in enumerate(accepted.values()):
            assert (await ada.recorded(payment))["amount"] == number + 1
        refused = await ada.pay(key, amount=len(accepted) + 1)
        assert "idempotent-replayed" not in refused.headers
        await ada.recorded(refused.json()["id"])
        assert len((await ada.get("/payments", limit=100)).json()["data"]) == len(accepted) + without_key + 1
