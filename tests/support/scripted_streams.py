"""A connection to NATS whose streams of commands answer as a test says."""

import asyncio
import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from mkstore.testing.broker import MemoryBroker


class Published(NamedTuple):
    """A message that was published."""

    subject: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def commits(self) -> bool:
        """Whether the stream acknowledges it: it is in no atomic batch, or the last message of one."""
        return "Nats-Batch-Id" not in self.headers or "Nats-Batch-Commit" in self.headers


Answer = Callable[[list[Published]], int | Exception | None]
"""Returns the error code for a single message or the messages of an atomic batch, an error, or None for an ack."""


class ScriptedStreams(MemoryBroker):
    """A broker whose client gives `answer` to each publish, once `go` is set; an ack means that it is stored."""

    def __init__(self, answer: Answer = lambda _: None) -> None:
        super().__init__()
        self.answer = answer
        self.stored: list[Published] = []
        self.refused: list[list[Published]] = []
        self.requested = 0
        self.go = asyncio.Event()
        self.go.set()
        self._batches: dict[str, list[Published]] = {}

    @property
    def client(self) -> Any:
        return SimpleNamespace(publish=self._publish_part, request=self._commit)

    async def _publish_part(self, subject: str, body: bytes, *, headers: Mapping[str, str]) -> None:
        self._batches.setdefault(headers["Nats-Batch-Id"], []).append(Published(subject, body, headers))

    async def _commit(self, subject: str, body: bytes, timeout: float, *, headers: Mapping[str, str]) -> Any:
        assert timeout > 0
        self.requested += 1
        last = Published(subject, body, headers)
        await self.go.wait()
        together = [*self._batches.pop(headers.get("Nats-Batch-Id", ""), []), last]
        answer = self.answer(together)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            self.refused.append(together)
            return SimpleNamespace(data=json.dumps({"error": {"err_code": answer, "description": "no"}}))
        self.stored += together
        return SimpleNamespace(data=json.dumps({"stream": "x", "seq": len(self.stored)}))
