"""Compares HTTP responses with rows and events, and lists every violation of the delivery guarantees."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mkstore.chaos.ledger import Ledger, User


@dataclass
class Verdict:
    """The result of an audit; each list has one sentence per violation."""

    recorded: int = 0
    lost: list[str] = field(default_factory=list)
    """Accepted, but without a row or an event."""
    duplicated: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    """Present, but never requested, or refused."""
    unannounced: list[str] = field(default_factory=list)
    """Rows without the right event."""
    out_of_order: list[str] = field(default_factory=list)
    revived: list[str] = field(default_factory=list)
    """Tokens that were accepted more than two seconds after the answer that ended their session."""

    @property
    def violations(self) -> dict[str, list[str]]:
        """The lists by their names in reports."""
        return {
            "lost": self.lost,
            "duplicated": self.duplicated,
            "phantom": self.phantom,
            "unannounced": self.unannounced,
            "out of order": self.out_of_order,
            "accepted after the end": self.revived,
        }

    @property
    def is_clean(self) -> bool:
        """Whether there is no violation."""
        return not any(self.violations.values())


@dataclass(frozen=True)
class StreamEvent:
    """One event of a stream."""

    subject: str
    event_id: str
    aggregate: str
    """Id of the user or payment."""
    version: int
    body: dict[str, Any]


def compare_payments(
    ledger: Ledger, rows: Sequence[Mapping[str, Any]], events: Sequence[StreamEvent], verdict: Verdict
) -> None:
    """Compare the payment attempts of a round with rows (`id`, `tag`, `status`) and events."""
    verdict.recorded = len(rows)
    attempts = {attempt.tag: attempt for attempt in ledger.attempts}
    ids_by_tag = defaultdict(list)
    for row in rows:
        ids_by_tag[row["tag"]].append(row["id"])
    for tag, ids in ids_by_tag.items():
        attempt = attempts.get(tag)
        if attempt is None or (attempt.id is None and not attempt.uncertain):
            verdict.phantom.append(f"payment {ids[0]} was {'refused' if attempt else 'never requested'}")
        if len(ids) > 1:
            verdict.duplicated.append(f"one attempt has the payments {ids}")
    verdict.lost += [
        f"payment {attempt.id} is not recorded"
        for attempt in ledger.attempts
        if attempt.id and attempt.id not in ids_by_tag[attempt.tag]
    ]
    _compare_payment_events({row["id"]: row["status"] for row in rows}, events, verdict)


def compare_users(ledger: Ledger, versions: Mapping[str, int], events: Sequence[StreamEvent], verdict: Verdict) -> None:
    """Compare the user changes of a round with row `versions` and events."""
    events_by_id: dict[str, list[StreamEvent]] = defaultdict(list)
    for event in events:
        if event not in events_by_id[event.aggregate]:  # published twice with one id, it is one event
            events_by_id[event.aggregate].append(event)
    by_email = {user.email: user for user in ledger.users}
    by_id = {user.id: user for user in ledger.users if user.id}
    for user_id, own in events_by_id.items():
        email = own[0].body.get("user", {}).get("email")
        if user_id not in by_id and email in by_email:  # created, but the response was lost
            by_id[user_id] = by_email[email]
    for user_id, user in by_id.items():
        _compare_user(user_id, user, events_by_id.pop(user_id, []), versions.get(user_id), verdict)
    verdict.phantom += [f"event of the unknown user {user_id}" for user_id in events_by_id]


def _compare_payment_events(statuses: Mapping[str, str], events: Sequence[StreamEvent], verdict: Verdict) -> None:
    """Check that each recorded payment has one event, with one event id."""
    events_by_id = defaultdict(set)
    for event in events:
        events_by_id[event.aggregate].add((event.event_id, event.subject))
    for payment, status in statuses.items():
        own = events_by_id.pop(payment, set())
        if {subject for _, subject in own} != {f"payment.{status}"}:
            verdict.unannounced.append(f"payment {payment} ({status}): {own or 'no event'}")
        elif len(own) > 1:
            verdict.duplicated.append(f"payment {payment} has events with several ids: {own}")
    verdict.phantom += [f"event of payment {payment}, which is not recorded" for payment in events_by_id]


def _compare_user(user_id: str, user: User, events: list[StreamEvent], recorded: int | None, verdict: Verdict) -> None:
    """Compare one user's changes with the events and the `recorded` version."""
    versions = [event.version for event in events]
    if versions != list(range(1, len(versions) + 1)):
        verdict.out_of_order.append(f"user {user_id}: versions {versions}")
    if recorded is None:
        verdict.lost.append(f"user {user_id} is not recorded")
    elif recorded != max(versions, default=0):
        verdict.unannounced.append(f"user {user_id}: version {recorded} is recorded, {versions} are published")
    published = {(event.subject, event.body.get("user", {}).get("name")): event.version for event in events}
    for change in user.changes:
        version = published.pop((f"user.{change.kind}", change.name), None)
        if change.version is not None and version is None:
            verdict.lost.append(f"user {user_id}: {change} has no event")
        if change.version is not None and change.version > 0 and version not in {None, change.version}:
            verdict.out_of_order.append(f"user {user_id}: {change} was published as version {version}")
        if version is not None and change.version is None and not change.uncertain:
            verdict.phantom.append(f"user {user_id}: {change} was refused, but published")
    verdict.phantom += [f"user {user_id}: {subject} {name} was never requested" for subject, name in published]
