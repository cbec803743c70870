"""Services for `mkstore docs`: one that can be documented, and two that cannot."""

import os
from typing import ClassVar

from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker

from contracts.base import Done, Request, example
from kit.asyncapi.specification import ServiceSpecification
from kit.messaging.server import ReplyRouter


def _app(*requests: type[Request[Done]]) -> AsgiFastStream:
    broker = NatsBroker(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    router = ReplyRouter()
    for contract in requests:

        async def answer(request) -> Done:  # type: ignore[no-untyped-def, empty-body] # noqa: ANN001 - annotated below
            """Answer in 20 °C."""

        answer.__annotations__["request"] = contract
        router.reply(contract)(answer)
    broker.include_router(router)
    return AsgiFastStream(broker, specification=ServiceSpecification("answers", "Answers."))


def _request(number: int) -> type[Request[Done]]:
    class Question(Request[Done]):
        """A request."""

        model_config = example(about="it")
        subject: ClassVar[str] = f"answers.{number:02}"

        about: str

    Question.__name__ = Question.__qualname__ = f"Question{number}"
    return Question


app = _app(*(_request(number) for number in range(30)))
duplicate = _app(_request(1), _request(1))
_broker = NatsBroker()
_broker.subscriber("answers.none")(print)
unregistered = AsgiFastStream(_broker, specification=ServiceSpecification("answers", "Answers."))
