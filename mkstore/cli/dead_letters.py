"""`mkstore dead-letters`: what an operator does about messages that could not be handled."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mkstore.cli import dead_letter_text
from mkstore.cli.support import HomeOption, JsonOption, fail, on_nats, show

if TYPE_CHECKING:
    from kit.messaging.broker import Broker
    from kit.messaging.dead_letters import DeadLetterQueue, DeadLetterRecord

app = typer.Typer(
    help="Messages that could not be handled. The id of a letter is its number in the stream DEAD_LETTERS.",
    no_args_is_help=True,
)

_COLUMNS = ("id", "subject", "reason", "attempts", "last")

IdsArgument = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", min=1, help="Letters by their id, as `list` shows it.")
]
IdArgument = Annotated[int, typer.Argument(metavar="ID", min=1, help="The letter's id, as `list` shows it.")]
SubjectOption = Annotated[
    str | None,
    typer.Option("--subject", help="Only those that were sent under this subject; NATS wildcards * and > are allowed."),
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Only those that failed with this error, by its name in `list`.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every letter that is there now.")]


class _Chosen(NamedTuple):
    """Which letters an operator means."""

    ids: Sequence[int]
    subject: str | None
    reason: str | None

    async def pages(self, letters: "DeadLetterQueue", to: int) -> AsyncGenerator[list["DeadLetterRecord"], None]:
        if not self.ids:
            async with aclosing(letters.pages(subject=self.subject or ">", reason=self.reason or "", to=to)) as pages:
                async for page in pages:
                    yield page
        for letter_id in dict.fromkeys(self.ids):
            letter = await letters.get(letter_id)
            if letter is None:
                fail(f"There is no letter {letter_id}: it was replayed or discarded, or never there.")
            yield [letter]


def _chosen(ids: list[int] | None, subject: str | None, reason: str | None, *, everything: bool) -> _Chosen:
    """Take a choice that says what it means; ends the command where it does not."""
    said = [bool(ids), subject is not None or reason is not None, everything]
    if said.count(True) != 1:
        raise typer.BadParameter("Say which letters: ids, or --subject and --reason, or --all.")
    if subject is not None and not dead_letter_text.is_subject(subject):
        raise typer.BadParameter(f"{subject!r} is no NATS subject.", param_hint="--subject")
    return _Chosen(ids or (), subject, reason)


@app.callback()
def dead_letters() -> None:
    """Work on dead letters."""


@app.command("list")
def list_letters(
    subject: SubjectOption = None,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, oldest first.")] = 100,
    after: Annotated[int, typer.Option(min=0, help="Only those with a higher id: the next page.")] = 0,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """List letters, oldest first."""
    from kit.messaging.dead_letters import DeadLetterQueue  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    if subject is not None and not dead_letter_text.is_subject(subject):
        raise typer.BadParameter(f"{subject!r} is no NATS subject.", param_hint="--subject")

    async def work(broker: "Broker") -> tuple[list[dict[str, object]], bool]:
        rows: list[dict[str, object]] = []
        pages = DeadLetterQueue(broker).pages(subject=subject or ">", reason=reason or "", after=after)
        async with aclosing(pages) as found:
            async for page in found:
                for letter in page:
                    if len(rows) == limit:
                        return rows, True
                    rows.append(dead_letter_text.row(letter))
        return rows, False

    rows, more = on_nats(home, work)
    show(f"{len(rows)} dead letters", _COLUMNS, rows, as_json=json)
    if more:
        typer.echo(f"There are more: --after {rows[-1]['id']}", err=True)


@app.command("show")
def show_letter(letter_id: IdArgument, home: HomeOption = None, json: JsonOption = False) -> None:
    """Show one letter: its headers, times, reason, attempts and body."""
    from kit.messaging.dead_letters import DeadLetterQueue  # noqa: PLC0415

    async def work(broker: "Broker") -> "DeadLetterRecord | None":
        return await DeadLetterQueue(broker).get(letter_id)

    letter = on_nats(home, work)
    if letter is None:
        fail(f"There is no letter {letter_id}: it was replayed or discarded, or never there.")
    typer.echo(dead_letter_text.as_json(letter) if json else dead_letter_text.for_people(letter))


@app.command()
def replay(
    ids: IdsArgument = None,
    subject: SubjectOption = None,
    reason: ReasonOption = None,
    everything: AllOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Send letters again to where they came from, and remove each that is on disk there.

    Sent twice, or by two operators at once, a letter makes one message. One that cannot go stays and is named.
    """
    chosen = _chosen(ids, subject, reason, everything=everything)

    async def work(broker: "Broker") -> dead_letter_text.Outcome:
        from kit.errors import Refusal  # noqa: PLC0415
        from kit.messaging.dead_letters import DeadLetterQueue, ReplayRefused  # noqa: PLC0415

        letters, outcome = DeadLetterQueue(broker), dead_letter_text.Outcome("replayed")
        async with aclosing(chosen.pages(letters, await letters.last())) as pages:
            async for page in pages:
                sent: list[DeadLetterRecord] = []
                try:
                    for letter in page:  # in their order, which the events of one thing need
                        try:
                            await letters.replay(letter)
                        except ReplayRefused as why:
                            outcome.stays(letter, str(why))
                        else:
                            sent.append(letter)
                except Refusal as why:  # no other letter can go either
                    outcome.stopped = str(why)
                await asyncio.gather(*map(letters.remove, sent))
                outcome.done += len(sent)
                if outcome.stopped:
                    break
        return outcome

    _finish(on_nats(home, work), as_json=json)


@app.command()
def discard(
    ids: IdsArgument = None,
    subject: SubjectOption = None,
    reason: ReasonOption = None,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where nobody can be asked.")] = False,
    unanswered: Annotated[
        bool,
        typer.Option(
            help="Discard a payment even where it cannot be recorded as rejected: its payer then finds none (404)."
        ),
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Remove letters for good. A payment among them is recorded as rejected first, so that its payer is told."""
    chosen = _chosen(ids, subject, reason, everything=everything)

    async def count(broker: "Broker") -> tuple[int, int]:
        from kit.messaging.dead_letters import DeadLetterQueue  # noqa: PLC0415

        letters, found = DeadLetterQueue(broker), 0
        last = await letters.last()
        async with aclosing(chosen.pages(letters, last)) as pages:
            async for page in pages:
                found += len(page)
        return found, last

    found, last = on_nats(home, count)
    if found and not yes:
        if not sys.stdin.isatty():
            fail(f"{found} letters would be discarded for good; say --yes where nobody can be asked.")
        typer.confirm(f"Discard {found} letters for good?", abort=True)

    async def work(broker: "Broker") -> dead_letter_text.Outcome:
        from kit.messaging.dead_letters import DeadLetterQueue  # noqa: PLC0415
        from mkstore.reject_payment import reject_payment  # noqa: PLC0415

        letters, outcome = DeadLetterQueue(broker), dead_letter_text.Outcome("discarded")
        async with aclosing(chosen.pages(letters, last)) as pages:
            async for page in pages:
                problems = await asyncio.gather(*(reject_payment(broker, letter) for letter in page))
                told = []
                for letter, problem in zip(page, problems, strict=True):
                    if problem and not unanswered:
                        outcome.stays(letter, f"Letter {letter.id} stays: its payer cannot be told. {problem}")
                    else:
                        told.append(letter)
                await asyncio.gather(*map(letters.remove, told))
                outcome.done += len(told)
        return outcome

    _finish(on_nats(home, work), as_json=json)


def _finish(outcome: dead_letter_text.Outcome, *, as_json: bool) -> None:
    """Tell what was done; exit code 1 where something stays."""
    if as_json:
        typer.echo(outcome.as_json())
    else:
        typer.echo(f"{outcome.done} {outcome.what}.")
        for sentence in outcome.sentences():
            typer.echo(sentence, err=True)
    if outcome.failed or outcome.stopped:
        raise typer.Exit(1)
