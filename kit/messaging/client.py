"""The asking side of request/reply, typed by the contract."""

from faststream.exceptions import SubscriberNotFound
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import TimeoutError as NatsTimeout

from contracts.base import Reply, Request
from contracts.errors import Problem
from kit.errors import NATS, OutcomeUnknown, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.server import ERROR_CODE
from kit.runtime.tracing import trace


class RemoteProblem(Exception):
    """The service answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


async def ask(broker: Broker, request: Request[Reply], *, deadline: float = 2.0) -> Reply:
    """Send `request` and await its typed reply for at most `deadline` seconds.

    Raises `RemoteProblem` for a problem, `Unavailable` at once when nobody listens or NATS is away, `OutcomeUnknown`
    when no answer came in time. What the sender did not say is not sent: a change can tell null from absent.
    """
    service = f"{request.subject.partition('.')[0]} service"
    if not broker.is_connected():
        raise Unavailable(NATS)  # nats-py would keep the request and send it after the reconnect
    try:
        reply = await broker.request(
            request.model_dump_json(exclude_unset=True).encode(),
            request.subject,
            headers={"content-type": "application/json"} | trace.get().headers(),
            timeout=deadline,
        )
    except (NoRespondersError, SubscriberNotFound) as error:
        raise Unavailable(service) from error
    except (ConnectionClosedError, OutboundBufferLimitError) as error:
        raise Unavailable(NATS) from error
    except NatsTimeout as error:
        raise OutcomeUnknown(service) from error
    if ERROR_CODE in reply.headers:
        raise RemoteProblem(Problem.model_validate_json(reply.body))
    return request.reply_type().model_validate_json(reply.body)
