"""The server side of request/reply: every request gets a reply, a problem included (NATS ADR-32)."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from faststream import BaseMiddleware
from faststream.message import StreamMessage
from faststream.nats import NatsResponse, NatsRouter
from nats.aio.msg import Msg
from pydantic import ValidationError
from structlog.stdlib import get_logger

from contracts.base import Reply, Request
from contracts.errors import ErrorKind, FieldError, Problem, json_pointer
from contracts.headers import SERVICE_ERROR, SERVICE_ERROR_CODE
from kit.asyncapi.handlers import Handled
from kit.errors import Refusal
from kit.messaging.stats import request_stats
from kit.runtime import tracing

log = get_logger(__name__)

Replies: TypeAlias = Callable[..., Awaitable[Reply]]
"""A handler of requests."""

_UNREADABLE = Problem(kind=ErrorKind.INVALID, slug="invalid-request", detail="The body is not a JSON document.")
_FAILED = Problem(kind=ErrorKind.INTERNAL, slug="internal-error", detail="The service failed; the failure is logged.")


def field_errors(error: ValidationError, skip: int = 0) -> tuple[FieldError, ...]:
    """Return one error per invalid field; the first `skip` parts of each location are not part of the message."""
    return tuple(
        FieldError(
            pointer=json_pointer(e["loc"][skip:]),
            code=e["type"],
            message=e["msg"],
        )
        for e in error.errors(include_url=False, include_input=False, include_context=False)
    )


def _problem(error: Exception) -> Problem:
    if isinstance(error, Refusal):
        return error.problem()
    if isinstance(error, ValidationError):
        return Problem(
            kind=ErrorKind.INVALID,
            slug="invalid-request",
            detail="The request does not fit its contract.",
            errors=field_errors(error, skip=1),  # the first part is the name of the handler's parameter
        )
    log.error("a request failed", exc_info=error)
    return _FAILED


def _reply(problem: Problem) -> NatsResponse:
    # .value: TestNatsBroker does not convert headers to strings, and NATS would send the name of the enum member.
    return NatsResponse(problem, headers={SERVICE_ERROR: problem.slug, SERVICE_ERROR_CODE: problem.kind.value})


class ReplyMiddleware(BaseMiddleware[Any, Any]):
    """Turns every failure of a request into a reply (NATS ADR-32); not for streams, where it would acknowledge."""

    async def on_receive(self) -> None:
        """Set the current trace from the message's headers."""
        tracing.set_trace(self.msg.headers)

    async def consume_scope(self, call_next: Any, msg: StreamMessage[Msg]) -> Any:
        """Call the handler and reply with its result or with a problem; count the request."""
        started = time.perf_counter_ns()
        problem: Problem | None = None
        try:
            # Decoded once, here, so that a ValueError of the handler is not mistaken for an invalid body.
            await msg.decode()
        except ValueError:  # not JSON, or not text
            problem = _UNREADABLE
        else:
            try:
                reply = await call_next(msg)
            except Exception as failure:  # noqa: BLE001 - without a reply the caller would wait for its timeout
                problem = _problem(failure)
        error = f"{problem.kind.value}:{problem.slug}" if problem else ""
        request_stats[self.msg.subject].add(time.perf_counter_ns() - started, error)
        return _reply(problem) if problem else reply


class ReplyRouter(NatsRouter):
    """A router for a service's request handlers; every failure of one becomes a reply."""

    def __init__(self) -> None:
        super().__init__(middlewares=[ReplyMiddleware])
        self.handled: list[Handled] = []

    def reply(self, request: type[Request[Reply]], *, workers: int = 64) -> Callable[[Replies[Reply]], Replies[Reply]]:
        """Register the handler that replies to `request`; at most `workers` of its calls run at once.

        All replicas of the service, which is the first part of the subject, are one queue group.
        """
        service = request.subject.partition(".")[0]

        def register(handler: Replies[Reply]) -> Replies[Reply]:
            subscriber = self.subscriber(request.subject, queue=service, max_workers=workers)
            subscriber(handler)
            self.handled.append(Handled("replies", request, handler, subscriber, queue=service))
            return handler

        return register
