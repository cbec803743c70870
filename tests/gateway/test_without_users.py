"""A gateway that starts while the users service is away or hangs: tokens are verified with the published keys."""

from tests.support.real_store import Servers, on_real_servers
from tests.support.store import SignedInUser, client_of, new_key, running


async def test_gateway_that_starts_while_users_hangs_accepts_payments(servers: Servers) -> None:
    async with on_real_servers(servers) as store:
        ada, bob = await store.sign_up(), await store.sign_up()
        forged = f"{ada.token[:-5]}AAAAA"
        async with store.outages.silent("users") as http:
            assert (await SignedInUser(http, ada.user, ada.token).pay(new_key())).status_code in {201, 202}
            assert (await SignedInUser(http, bob.user, bob.token).get("/payments")).status_code == 200
            assert (await SignedInUser(http, ada.user, forged).get("/payments")).status_code == 401
            assert (await http.get("/.well-known/jwks.json")).status_code == 200
        async with store.outages.away("users"):
            later = servers.gateway()
            async with running(later), client_of(later) as http:
                assert (await SignedInUser(http, ada.user, ada.token).get("/payments")).status_code == 200
