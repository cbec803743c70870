"""What arrives after its client has gone is not done."""

from tests.support.http_client import assert_problem, calling, unused_email
from tests.support.running_store import Running
from tests.support.users_harness import PASSWORD


async def test_sign_up_that_arrives_late_creates_no_user(unlimited_store: Running) -> None:
    async with calling(unlimited_store) as http:
        email = unused_email()
        with unlimited_store.hung("users"):
            late = await http.post("/users", json={"email": email, "password": PASSWORD})
        assert_problem(late, 504, "outcome-unknown")
        assert "Idempotency-Key" not in late.json()["detail"]  # the request has none
        await unlimited_store.wait_until_recovered()
        again = await http.post("/users", json={"email": email, "password": PASSWORD})
        assert again.status_code == 201, again.text
