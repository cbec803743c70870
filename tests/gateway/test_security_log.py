"""What the gateway writes to the security log."""

from structlog.testing import capture_logs

from tests.support.memory_store import in_memory
from tests.support.sign_in import at_address, sign_in
from tests.support.store import SignedInUser
from tests.support.users_harness import new_email


async def test_throttled_guesses_are_events_without_the_account() -> None:
    async with in_memory(rate_limit_enabled=True, rate_limit_account="1/day") as store:
        ada, email = await store.sign_up(), new_email()
        body = {"currentPassword": "a wrong one", "newPassword": "staple of another colour"}
        with capture_logs() as logs:
            for _ in range(3):
                await sign_in(store, email, "a wrong one", address="192.0.2.1")
            async with at_address(store, "192.0.2.2") as http:
                caller = SignedInUser(http, ada.user, ada.token)
                for _ in range(3):
                    await caller.request("PUT", f"/users/{ada.id}/password", json=body)
    throttled = [log for log in logs if log.get("security") == "throttled"]
    assert throttled
    assert {(log.get("user"), log["address"]) for log in throttled} == {(None, "192.0.2.1"), (ada.id, "192.0.2.2")}
    assert not any(secret in str(throttled) for secret in (email, "a wrong one", ada.token))


async def test_limits_of_load_are_no_security_events() -> None:
    async with in_memory(rate_limit_enabled=True, rate_limit_caller="1/day") as store:
        ada = await store.sign_up()
        with capture_logs() as logs:
            assert [(await ada.get("/payments")).status_code for _ in range(3)].count(429) >= 1
    assert not [log for log in logs if "security" in log]
