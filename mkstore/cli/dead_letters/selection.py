"""Which dead letters and refused events a command of `mkstore dead-letters` is about."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from contracts.shards import Shards
from mkstore.cli.dead_letters import text
from mkstore.cli.dead_letters.refused_events import RefusedEvents, RefusedId, is_service
from mkstore.cli.dead_letters.text import Outcome
from mkstore.cli.support import fail, shards_of

if TYPE_CHECKING:
    from contracts.outbox import RefusedEvent
    from kit.messaging.broker import Broker
    from kit.messaging.dead_letters import DeadLetterQueue, DeadLetterRecord


@dataclass(frozen=True)
class Selection:
    """The selected letters and refused events."""

    ids: Sequence[int]
    refused: Sequence[RefusedId]
    subject: str | None
    reason: str | None
    shards: Shards

    async def events(self, broker: "Broker") -> AsyncGenerator[tuple[RefusedId, "RefusedEvent"], None]:
        """Yield the selected refused events. Exits 1 with a message if one of the ids is unknown."""
        if self.ids and not self.refused:
            return
        missing = set(self.refused)
        selected = RefusedEvents(broker, self.shards).select(self.refused, self.subject or ">", self.reason or "")
        async with aclosing(selected) as events:
            async for refused, event in events:
                missing.discard(refused)
                yield refused, event
        for refused in sorted(missing):
            fail(f"There is no refused event {refused}: it was published, discarded, or never refused.")

    async def pages(self, letters: "DeadLetterQueue", to: int) -> AsyncGenerator[list["DeadLetterRecord"], None]:
        """Yield the selected letters up to an id. Exits 1 with a message if one of the ids is unknown."""
        if not self.ids and not self.refused:
            async with aclosing(letters.pages(subject=self.subject or ">", reason=self.reason or "", to=to)) as pages:
                async for page in pages:
                    yield page
        for letter_id in dict.fromkeys(self.ids):
            letter = await letters.get(letter_id)
            if letter is None:
                fail(f"There is no letter {letter_id}: it was replayed, discarded, or never existed.")
            yield [letter]

    async def count(self, broker: "Broker") -> tuple[int, int]:
        """Return the number of letters and events, and the id of the newest letter."""
        from kit.messaging.dead_letters import DeadLetterQueue  # noqa: PLC0415 - slow to import

        letters = DeadLetterQueue(broker)
        last, total = await letters.last(), 0
        async with aclosing(self.pages(letters, last)) as pages:
            async for page in pages:
                total += len(page)
        async with aclosing(self.events(broker)) as events:
            async for _ in events:
                total += 1
        return total, last

    async def settle_events(self, broker: "Broker", outcome: Outcome) -> None:
        """Publish the selected refused events again, or discard them, as the outcome's action says."""
        async with aclosing(self.events(broker)) as events:
            for refused in [refused async for refused, _ in events]:
                await RefusedEvents(broker, self.shards).settle(refused, outcome)


def parse(letter_id: str) -> int | RefusedId:
    """Return an id. Exits 2 with a message if it is none."""
    if letter_id.isascii() and letter_id.isdecimal() and int(letter_id):
        return int(letter_id)
    service, _, number = letter_id.partition(":")
    if is_service(service) and number.isascii() and number.isdecimal():
        return RefusedId(service, int(number))
    raise typer.BadParameter(f"{letter_id!r} is not an id such as 17 or users:17.", param_hint="ID")


def select(
    ids: list[str] | None, subject: str | None, reason: str | None, *, everything: bool, home: Path | None
) -> Selection:
    """Return the selection; exit 2 unless exactly one way to select is used."""
    criteria = [bool(ids), subject is not None or reason is not None, everything]
    if criteria.count(True) != 1:
        raise typer.BadParameter("Select letters by ids, by --subject and --reason, or with --all.")
    if subject is not None and not text.is_subject(subject):
        raise typer.BadParameter(f"{subject!r} is not a NATS subject.", param_hint="--subject")
    parsed = [*map(parse, ids or ())]
    refused = [each for each in parsed if isinstance(each, RefusedId)]
    return Selection([each for each in parsed if isinstance(each, int)], refused, subject, reason, shards_of(home))
