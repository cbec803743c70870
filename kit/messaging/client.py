"""Request/reply over NATS, typed by the contract."""

import time

from faststream.exceptions import SubscriberNotFound
from faststream.nats import NatsMessage
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import TimeoutError as NatsTimeout

from contracts.base import Reply, Request
from contracts.errors import Problem
from contracts.headers import DEADLINE, SERVICE_ERROR_CODE
from contracts.shards import ONLY, Shard
from kit.errors import NATS, OutcomeUnknown, RemoteProblem, Unavailable
from kit.messaging.broker import Broker
from kit.runtime.measurements import Durations
from kit.runtime.spans import nats_span
from kit.runtime.tracing import trace

_REQUESTS = Durations(
    "mkstore_nats_request_duration_seconds",
    "Time from a request on NATS until its reply is known: ok, refused, unavailable, or unknown after a timeout.",
    ("subject", "outcome"),
)


class RequestClient:
    """Sends requests to other services; each waits for its reply for at most `timeout` seconds."""

    def __init__(self, broker: Broker, timeout: float = 2.0) -> None:
        self._broker = broker
        self._timeout = timeout

    async def request(
        self,
        request: Request[Reply],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - NATS keeps the time
        shard: Shard = ONLY,
    ) -> Reply:
        """Send `request`, to a `shard` of its service, and return the reply.

        `timeout` in seconds replaces the client's.

        Only the fields that the sender set are sent, so that a change can tell null from absent. The request carries
        its deadline: a service that gets it later does not handle it.

        Raises `RemoteProblem` if the service refuses, `Unavailable` if no service replies on the subject or NATS is
        not connected, and `OutcomeUnknown` if no reply arrives in time.
        """
        started, outcome = time.perf_counter(), "unavailable"
        try:
            limit = self._timeout if timeout is None else timeout
            reply = await self._send(request, shard.subject(request.subject), limit)
            outcome = "refused" if SERVICE_ERROR_CODE in reply.headers else "ok"
        except OutcomeUnknown:
            outcome = "unknown"
            raise
        finally:
            _REQUESTS.observe((request.subject, outcome), time.perf_counter() - started)
        if outcome == "refused":
            raise RemoteProblem(Problem.model_validate_json(reply.body))
        return request.reply_type().model_validate_json(reply.body)

    async def _send(self, request: Request[Reply], subject: str, timeout: float) -> NatsMessage:  # noqa: ASYNC109 - NATS keeps the time
        service = f"{request.subject.partition('.')[0]} service"
        if not self._broker.is_connected():
            raise Unavailable(NATS)  # nats-py would keep the request and send it after the reconnect
        deadline = str(int((time.time() + timeout) * 1000))
        try:
            with nats_span("send", "CLIENT", request.subject):
                return await self._broker.request(
                    request.model_dump_json(exclude_unset=True).encode(),
                    subject,
                    headers={"content-type": "application/json", DEADLINE: deadline} | trace.get().headers(),
                    timeout=timeout,
                )
        except (NoRespondersError, SubscriberNotFound) as error:
            raise Unavailable(service) from error
        except (ConnectionClosedError, OutboundBufferLimitError) as error:
            raise Unavailable(NATS) from error
        except NatsTimeout as error:
            raise OutcomeUnknown(service) from error
