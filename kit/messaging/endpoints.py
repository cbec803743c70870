"""Endpoints of a service: the requests that it replies to, as NATS ADR-32 describes them."""

from typing import Any, NamedTuple

from contracts.base import Request
from kit.asyncapi.handlers import handled_by
from kit.asyncapi.writing import described
from kit.messaging.stats import request_stats


class Endpoint(NamedTuple):
    """A request that a service replies to; its replicas form one queue group."""

    request: type[Request[Any]]
    subject: str
    queue_group: str

    def identity(self) -> dict[str, str]:
        """Return the name, the subject and the queue group."""
        return {"name": self.request.__name__, "subject": self.subject, "queue_group": self.queue_group}

    def info(self, service: str) -> dict[str, Any]:
        """Return ADR-32's `EndpointInfo`; its metadata names the messages and the operation in the document."""
        metadata = {
            "request": self.request.__name__,
            "reply": self.request.reply_type().__name__,
            "description": summary_of(self.request.__doc__),
            "asyncapi.operation": f"{service}.replies.{self.request.__name__}",
        }
        return self.identity() | {"metadata": metadata}

    def stats(self) -> dict[str, Any]:
        """Return ADR-32's `EndpointStats`, with times in nanoseconds."""
        # Without "data": nats-py writes null, which fails the schema that the nats command validates with.
        count = request_stats[self.request.subject]
        return self.identity() | {
            "num_requests": count.requests,
            "num_errors": count.errors,
            "last_error": count.last_error,
            "processing_time": count.nanoseconds,
            "average_processing_time": count.average,
        }


def endpoints_of(registrator: Any) -> list[Endpoint]:
    """Return one `Endpoint` per request that the routers of a broker, or one router, handle; sorted by subject."""
    endpoints = [
        Endpoint(each.message, each.subscriber.subject.broker_address, each.queue)
        for each in handled_by(registrator)
        if each.role == "replies"
    ]
    return sorted(endpoints, key=lambda endpoint: endpoint.subject)


def summary_of(text: str | None) -> str:
    """Return the first paragraph of a docstring as one line."""
    return described(text)["summary"]
