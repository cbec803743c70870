"""Every scenario, in the order of a round."""

from mkstore.bench.scenarios import reads, writes
from mkstore.bench.scenarios.event_streams import EventStreamScenario
from mkstore.bench.scenarios.idle import IdleScenario, LimitScenario
from mkstore.bench.scenarios.pages import PageScenario
from mkstore.bench.scenarios.scenario import RequestScenario, Scenario
from mkstore.bench.scenarios.writes import PaymentScenario

USERS_MANY, PAYMENTS, KEYED = "users-many", "payments", "payments-keyed"
IDLE, LIMITS = IdleScenario.name, LimitScenario.name
PAGES, EVENT_STREAMS = PageScenario.name, EventStreamScenario.name
_PASSWORD_CONNECTIONS = 8
"""So few that no request waits for longer than the gateway's deadline: a hash takes a processor for 25 ms."""


def every_scenario() -> list[Scenario]:
    """Return the scenarios."""
    return [
        LimitScenario(),
        RequestScenario(USERS_MANY, "`GET /users/{id}` by 1,000 users, each with its own token.", reads.users_many),
        RequestScenario("users-one", "`GET /users/{id}` by one user.", reads.users_one),
        RequestScenario("payment-by-id", "`GET /payments/{id}` of 1,000 recorded payments.", reads.payments_by_id),
        PaymentScenario(PAYMENTS, "`POST /payments` by 1,000 users.", writes.payments),
        PaymentScenario(
            KEYED,
            "`POST /payments` with a new `Idempotency-Key` each; without one where the contender knows none.",
            writes.keyed_payments,
        ),
        PaymentScenario(
            "recorded",
            "`POST /payments`, and beside it the time from a response until the payment is recorded.",
            writes.payments,
            probes=True,
        ),
        PaymentScenario(
            "mix", "70 % `GET /users/{id}`, 20 % `POST /payments`, 10 % `GET /payments`.", writes.mix, paying=False
        ),
        PageScenario(),
        RequestScenario("sign-up", "`POST /users`: one argon2 hash each.", reads.sign_ups, _PASSWORD_CONNECTIONS),
        RequestScenario(
            "sign-in", "The sign-in of 1,000 users: one argon2 hash each.", reads.sign_ins, _PASSWORD_CONNECTIONS
        ),
        EventStreamScenario(),
        IdleScenario(),
    ]
