"""Golden messages: one recorded message of each kind per release, which today's code must read."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from contracts.dead_letters import DeadLetter
from contracts.errors import Problem
from contracts.headers import (
    CommandHeaders,
    DeadLetterHeaders,
    EventHeaders,
    ProblemHeaders,
    ReplyHeaders,
    RequestHeaders,
    StateHeaders,
)
from contracts.outbox import requests_of
from kit.asyncapi.specification import VERSION
from tests.architecture.messages import COMMANDS, EVENTS, REQUESTS, STATES

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*/*.json"))
ALL_REQUESTS = [*REQUESTS, *requests_of("users"), *requests_of("payments")]

READERS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "problem": (ProblemHeaders, Problem),
    "dead": (DeadLetterHeaders, DeadLetter),
    **{request.subject: (RequestHeaders, request) for request in ALL_REQUESTS},
    **{f"{request.subject}.reply": (ReplyHeaders, request.reply_type()) for request in ALL_REQUESTS},
    **{command.subject.partition(".{")[0]: (CommandHeaders, command) for command in COMMANDS},
    **{event.subject: (EventHeaders, event) for event in EVENTS},
    **{state.subject.partition(".{")[0]: (StateHeaders, state) for state in STATES},
}
"""Models of headers and body, by the name of the file."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_messages_of_every_version_can_be_read(file: Path) -> None:
    golden: dict[str, Any] = json.loads(file.read_text("utf-8"))
    headers, body = READERS[file.stem]
    headers.model_validate(golden["headers"])
    read = body.model_validate_json(json.dumps(golden["body"]))
    assert json.loads(read.model_dump_json(exclude_unset=True)).items() >= golden["body"].items()


def test_this_version_has_a_golden_message_of_each_kind() -> None:
    assert {file.stem for file in FILES if file.parent.name == VERSION} == set(READERS)
