"""Services that have something to say, and one that does not: what `mkstore docs` reads."""

import os

from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker
from faststream.specification import AsyncAPI
from pydantic import BaseModel


class Question(BaseModel):
    """Something that is asked."""

    about: str


def _app(*subjects: str) -> AsgiFastStream:
    broker = NatsBroker(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))

    async def answer(question: Question) -> None:
        """Answer in 20 °C."""

    for subject in subjects:
        broker.subscriber(subject)(answer)
    return AsgiFastStream(broker, specification=AsyncAPI(title="Answers", version="1.0.0"))


app = _app(*(f"answers.{number:02}" for number in range(30)))
twice = _app("answers.same", "answers.same")
