"""Messages of each released version and of today, read by the other side: in an upgrade they run side by side."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from contract_gate import releases
from contract_gate.operations import Message, operations
from contract_gate.sources import load
from kit.asyncapi.specification import VERSION
from mkstore import generated
from tests.contracts.test_golden import GOLDEN, READERS

VERSIONS = sorted(path.name for path in (generated.ROOT / releases.FOLDER).iterdir() if path.is_dir())


class Contract(NamedTuple):
    """A message of the documents of one version, as its owner describes it; named as its golden message is."""

    name: str
    message: Message

    @property
    def examples(self) -> list[dict[str, Any]]:
        """Headers and payload of each example."""
        return list(self.message.body["examples"])

    def faults(self, part: str, value: Any) -> list[str]:
        """Return why a value does not match the schema of the headers or the payload."""
        schema = {**self.message.body[part], "components": self.message.root["components"]}
        checker = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        return [f"{error.json_path} {error.message}" for error in checker.iter_errors(value)]


def _contracts(folder: Path) -> Iterator[Contract]:
    for operation in operations(load(generated.ROOT, str(folder)).events).values():
        if not operation.owned:
            continue
        for message in operation.messages:
            yield Contract(operation.channel_id, message)
        for message in operation.replies:
            is_problem = message.kind == "problem"
            yield Contract("problem" if is_problem else f"{operation.channel_id}.reply", message)


def released(version: str) -> dict[str, Contract]:
    """Return the contracts of a released version by their names."""
    return {contract.name: contract for contract in _contracts(generated.ROOT / releases.FOLDER / version)}


TODAY = {contract.name: contract for contract in _contracts(generated.ROOT / "asyncapi")}


@pytest.mark.parametrize("version", VERSIONS)
def test_today_reads_every_message_that_a_release_shows(version: str) -> None:
    contracts = released(version)
    assert set(READERS) >= set(contracts) > {"users.create", "users.create.reply", "payment.created", "problem"}
    for name, contract in contracts.items():
        headers, body = READERS[name]
        for example in contract.examples:
            headers.model_validate(example["headers"])
            body.model_validate_json(json.dumps(example["payload"]))


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_of_today_are_valid_in_a_release(version: str) -> None:
    """An unknown field is ignored, as a reader of that version does."""
    faults = [
        f"{name} {part}: {fault}"
        for name, contract in released(version).items()
        for message in _of_today(name)
        for part in ("headers", "payload")
        for fault in contract.faults(part, message[part])
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_message_of_a_release_has_one_of_today(version: str) -> None:
    assert set(released(version)) <= set(TODAY)
    assert all(_of_today(name) for name in released(version))


def _of_today(name: str) -> list[dict[str, Any]]:
    """Return the examples of today's documents, and the message that this version has recorded."""
    recorded = json.loads((GOLDEN / VERSION / f"{name}.json").read_text("utf-8"))
    return [*TODAY[name].examples, {"headers": recorded["headers"], "payload": recorded["body"]}]
