"""`mkstore dead-letters`: lists, shows, replays and discards dead letters."""

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from mkstore.cli.dead_letters import refused_events, text
from mkstore.cli.dead_letters.refused_events import RefusedEvents, RefusedId
from mkstore.cli.dead_letters.selection import Selection, parse, select
from mkstore.cli.support import HomeOption, JsonOption, fail, on_nats, shards_of, show

if TYPE_CHECKING:
    from pathlib import Path

    from contracts.outbox import RefusedEvent
    from kit.messaging.broker import Broker
    from kit.messaging.dead_letters import DeadLetterRecord

app = typer.Typer(
    help="List, show, replay and discard dead letters, and events that NATS refused. The id of a letter is its "
    "sequence in DEAD_LETTERS, that of a refused event its service and its number, such as users:17.",
    no_args_is_help=True,
)

_COLUMNS = ("id", "subject", "reason", "attempts", "last")

IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of letters, see `list`.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the letter, see `list`.")]
SubjectOption = Annotated[
    str | None,
    typer.Option("--subject", help="Only letters with this original subject; may contain the wildcards * and >."),
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Only letters with this error, see `reason` in `list`.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every current letter.")]


@app.callback()
def dead_letters() -> None:
    """List, show, replay and discard dead letters."""


@app.command("list")
def list_letters(
    subject: SubjectOption = None,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of letters.")] = 100,
    after: Annotated[int, typer.Option(min=0, help="Only letters with a higher id, for the next page.")] = 0,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """List letters, oldest first."""
    from kit.messaging.dead_letters import DeadLetterQueue  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    if subject is not None and not text.is_subject(subject):
        raise typer.BadParameter(f"{subject!r} is not a NATS subject.", param_hint="--subject")

    shards = shards_of(home)

    async def work(broker: "Broker") -> tuple[list[dict[str, object]], list[dict[str, object]], bool]:
        selected = RefusedEvents(broker, shards).select((), subject or ">", reason or "")
        refused = [] if after else [refused_events.row(*each) async for each in selected]
        letters: list[dict[str, object]] = []
        pages = DeadLetterQueue(broker).pages(subject=subject or ">", reason=reason or "", after=after)
        async with aclosing(pages):
            async for page in pages:
                for letter in page:
                    if len(letters) == limit:
                        return refused, letters, True
                    letters.append(text.row(letter))
        return refused, letters, False

    refused, letters, more = on_nats(home, work)
    show(f"{len(refused) + len(letters)} dead letters", _COLUMNS, [*refused, *letters], as_json=json)
    if more:
        typer.echo(f"There are more letters: use --after {letters[-1]['id']}", err=True)


@app.command("show")
def show_letter(letter_id: IdArgument, home: HomeOption = None, json: JsonOption = False) -> None:
    """Show one letter with headers, times, reason, attempts and body."""
    from kit.messaging.dead_letters import DeadLetterQueue  # noqa: PLC0415

    async def work(broker: "Broker") -> "DeadLetterRecord | None":
        return await DeadLetterQueue(broker).get(number)

    parsed = parse(letter_id)
    if isinstance(parsed, RefusedId):
        _show_refused(parsed, home, as_json=json)
        return
    number = parsed
    letter = on_nats(home, work)
    if letter is None:
        fail(f"There is no letter {letter_id}: it was replayed, discarded, or never existed.")
    typer.echo(text.as_json(letter) if json else text.as_text(letter))


@app.command()
def replay(
    ids: IdsArgument = None,
    subject: SubjectOption = None,
    reason: ReasonOption = None,
    everything: AllOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Publish letters to their original stream again, and remove each one that is stored there.

    A letter that is replayed twice becomes one message. A letter that cannot be published stays and is listed.
    """
    selection = select(ids, subject, reason, everything=everything, home=home)

    async def work(broker: "Broker") -> text.Outcome:
        from kit.errors import Refusal  # noqa: PLC0415
        from kit.messaging.dead_letters import DeadLetterQueue, ReplayRefused  # noqa: PLC0415

        letters, outcome = DeadLetterQueue(broker), text.Outcome("replayed")
        async with aclosing(selection.pages(letters, await letters.last())) as pages:
            async for page in pages:
                sent: list[DeadLetterRecord] = []
                try:
                    for letter in page:  # in order, which the events of one aggregate need
                        try:
                            await letters.replay(letter)
                        except ReplayRefused as refusal:
                            outcome.keep(letter.id, str(refusal))
                        else:
                            sent.append(letter)
                except Refusal as refusal:  # it concerns every letter
                    outcome.stopped = str(refusal)
                await asyncio.gather(*map(letters.remove, sent))
                outcome.done += len(sent)
                if outcome.stopped:
                    break
        await selection.settle_events(broker, outcome)
        return outcome

    _finish(on_nats(home, work), as_json=json)


@app.command()
def discard(
    ids: IdsArgument = None,
    subject: SubjectOption = None,
    reason: ReasonOption = None,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; required without a terminal.")] = False,
    unanswered: Annotated[
        bool,
        typer.Option(help="Discard a payment even if it cannot be recorded as rejected; its payer then gets 404."),
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Remove letters permanently. An accepted payment is recorded as rejected first, so its payer sees that."""
    selection = select(ids, subject, reason, everything=everything, home=home)

    total, last = on_nats(home, selection.count)
    if total and not yes:
        if not sys.stdin.isatty():
            fail(f"{total} letters would be discarded permanently; use --yes to confirm without a terminal.")
        typer.confirm(f"Discard {total} letters permanently?", abort=True)

    async def work(broker: "Broker") -> text.Outcome:
        from kit.messaging.dead_letters import DeadLetterQueue  # noqa: PLC0415
        from mkstore.reject_payment import reject_payment  # noqa: PLC0415

        letters, outcome = DeadLetterQueue(broker), text.Outcome("discarded")
        async with aclosing(selection.pages(letters, last)) as pages:
            async for page in pages:
                problems = await asyncio.gather(*(reject_payment(broker, letter) for letter in page))
                done = []
                for letter, problem in zip(page, problems, strict=True):
                    if problem and not unanswered:
                        outcome.keep(letter.id, f"Letter {letter.id} stays: its payment cannot be rejected. {problem}")
                    else:
                        if problem:
                            await letters.forget(letter)
                        done.append(letter)
                await asyncio.gather(*map(letters.remove, done))
                outcome.done += len(done)
        await selection.settle_events(broker, outcome)
        return outcome

    _finish(on_nats(home, work), as_json=json)


def _show_refused(refused: RefusedId, home: "Path | None", *, as_json: bool) -> None:
    shards = shards_of(home)

    async def work(broker: "Broker") -> "RefusedEvent":
        events = [event async for _, event in Selection((), [refused], None, None, shards).events(broker)]
        return events[0]  # without one the command has ended

    event = on_nats(home, work)
    typer.echo((refused_events.as_json if as_json else refused_events.as_text)(refused, event))


def _finish(outcome: text.Outcome, *, as_json: bool) -> None:
    """Print the outcome; exit 1 if a letter stays."""
    if as_json:
        typer.echo(outcome.as_json())
    else:
        typer.echo(f"{outcome.done} {outcome.action}.")
        for sentence in outcome.sentences():
            typer.echo(sentence, err=True)
    if outcome.failed or outcome.stopped:
        raise typer.Exit(1)
