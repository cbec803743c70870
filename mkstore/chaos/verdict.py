"""What must not be: the comparison of what people were told with what is recorded and told of."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mkstore.chaos.ledger import Ledger, Person


@dataclass
class Verdict:
    """What an audit found; each list has a sentence for each thing that must not be."""

    recorded: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    phantoms: list[str] = field(default_factory=list)
    """What nobody asked for, or what was refused and is there all the same."""
    untold: list[str] = field(default_factory=list)
    """Changes without their event."""
    misordered: list[str] = field(default_factory=list)

    @property
    def faults(self) -> dict[str, list[str]]:
        """The lists by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, list)}

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not any(self.faults.values())


@dataclass(frozen=True)
class Told:
    """One event in a stream."""

    subject: str
    event_id: str
    aggregate: str
    version: int
    body: dict[str, Any]


def compare_payments(ledger: Ledger, rows: Sequence[Mapping[str, Any]], told: Sequence[Told], verdict: Verdict) -> None:
    """Compare the payments of a round with their rows (`id`, `tag`, `status`) and events."""
    verdict.recorded = len(rows)
    wishes = {wish.tag: wish for wish in ledger.wishes}
    ids = defaultdict(list)
    for row in rows:
        ids[row["tag"]].append(row["id"])
    for tag, here in ids.items():
        wish = wishes.get(tag)
        if wish is None or (wish.id is None and not wish.doubtful):
            verdict.phantoms.append(f"payment {here[0]}: {'it was refused' if wish else 'nobody asked for it'}")
        if len(here) > 1:
            verdict.doubled.append(f"payments {here} of one wish")
    verdict.lost += [f"payment {wish.id}" for wish in ledger.wishes if wish.id and wish.id not in ids[wish.tag]]
    _compare_events({row["id"]: row["status"] for row in rows}, told, verdict)


def compare_users(
    ledger: Ledger, others: Collection[str], versions: Mapping[str, int], told: Sequence[Told], verdict: Verdict
) -> None:
    """Compare the people of a round with the versions of their rows and with the events; `others` were there before."""
    events: dict[str, list[Told]] = defaultdict(list)
    for event in told:
        if event not in events[event.aggregate]:  # sent twice under one id, it is one event
            events[event.aggregate].append(event)
    by_email = {person.email: person for person in ledger.people}
    people = {person.id: person for person in ledger.people if person.id}
    for user, about in events.items():
        email = about[0].body.get("user", {}).get("email")
        if user not in people and email in by_email:  # signed up without being told so
            people[user] = by_email[email]
    for user, person in people.items():
        _compare_user(user, person, events.pop(user, []), versions.get(user), verdict)
    verdict.phantoms += [f"event of a user nobody knows: {user}" for user in events if user not in others]


def _compare_events(payments: Mapping[str, str], told: Sequence[Told], verdict: Verdict) -> None:
    """Compare the events with the recorded payments: each has one, of one id."""
    events = defaultdict(set)
    for event in told:
        events[event.aggregate].add((event.event_id, event.subject))
    for payment, status in payments.items():
        about = events.pop(payment, set())
        if {subject for _, subject in about} != {f"payment.{status}"}:
            verdict.untold.append(f"payment {payment} ({status}): {about or 'no event'}")
        elif len(about) > 1:
            verdict.doubled.append(f"payment {payment} has events of several ids: {about}")
    verdict.phantoms += [f"event of a payment that is not recorded: {payment}" for payment in events]


def _compare_user(user: str, person: Person, events: list[Told], standing: int | None, verdict: Verdict) -> None:
    """Compare one person's changes with the events and with the version that is recorded."""
    versions = [event.version for event in events]
    if versions != list(range(1, len(versions) + 1)):
        verdict.misordered.append(f"user {user}: versions {versions}")
    if standing is None:
        verdict.lost.append(f"user {user} is not recorded")
    elif standing != max(versions, default=0):
        verdict.untold.append(f"user {user}: version {standing} is recorded, {versions} are told")
    names = {(event.subject, event.body.get("user", {}).get("name")): event.version for event in events}
    for change in person.changes:
        at = names.pop((f"user.{change.kind}", change.name), None)
        if change.version is not None and at is None:
            verdict.lost.append(f"user {user}: {change} has no event")
        if change.version is not None and change.version > 0 and at not in {None, change.version}:
            verdict.misordered.append(f"user {user}: {change} was told as version {at}")
        if at is not None and change.version is None and not change.doubtful:
            verdict.phantoms.append(f"user {user}: {change} was refused and told")
    verdict.phantoms += [f"user {user}: {subject} {name} was never asked for" for subject, name in names]
