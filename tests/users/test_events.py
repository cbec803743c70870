"""What the users service tells others: each answered change once, in order, and nothing of what it refused."""

import asyncio
from datetime import datetime
from uuid import UUID, uuid4

from contracts.users import (
    Authenticate,
    ChangePassword,
    CreateUser,
    DeleteUser,
    UpdateUser,
    UserCreated,
    UserDeleted,
    UserUpdated,
)
from kit.runtime.tracing import Trace, new_traceparent, trace
from tests.support.users_harness import PASSWORD, Service, all_events, new_email


async def test_every_answered_change_is_told_in_order(service: Service) -> None:
    created = await service.new_user(name="Ada")
    updated = await service.ask(UpdateUser(id=created.id, name=None))
    await service.ask(ChangePassword(id=created.id, current_password=PASSWORD, new_password="another colour"))
    changed = await service.get(created.id)
    assert changed is not None
    await service.ask(DeleteUser(id=created.id))
    told = [sent.event for sent in await service.told(created.id, 4)]
    assert told[:3] == [UserCreated(user=created), UserUpdated(user=updated), UserUpdated(user=changed)]
    assert isinstance(told[3], UserDeleted)
    assert told[3] == UserDeleted(id=created.id, version=4, deleted_at=told[3].deleted_at)
    assert told[3].deleted_at > changed.updated_at


async def test_what_was_refused_or_changed_nothing_is_not_told(service: Service) -> None:
    user, other = await service.new_user(name="Ada"), await service.new_user()
    await service.refuse(CreateUser(email=user.email, password=PASSWORD))
    await service.refuse(UpdateUser(id=user.id, email=other.email))
    await service.refuse(UpdateUser(id=user.id, name="Countess", expected_version=7))
    await service.refuse(ChangePassword(id=user.id, current_password="wrong", new_password="another colour"))
    await service.ask(UpdateUser(id=user.id, name="Ada"))
    await service.ask(Authenticate(email=user.email, password=PASSWORD))
    await service.ask(DeleteUser(id=user.id))
    await service.refuse(DeleteUser(id=user.id))
    assert [sent.event.subject for sent in await service.told(user.id, 2)] == ["user.created", "user.deleted"]


async def test_the_headers_say_what_happened_to_whom_and_when(real_service: Service) -> None:
    request = Trace(uuid4().hex, new_traceparent())
    trace.set(request)
    user = await real_service.new_user()
    await real_service.ask(UpdateUser(id=user.id, name="Ada"))
    sent = await real_service.told(user.id, 2)
    assert [one.headers["ce-aggregateversion"] for one in sent] == ["1", "2"]
    headers = sent[0].headers
    assert UUID(headers["ce-id"]) != UUID(sent[1].headers["ce-id"])
    assert abs(datetime.fromisoformat(headers["ce-time"]) - user.created_at).total_seconds() < 5
    expected = {
        "Nats-Msg-Id": headers["ce-id"],
        "ce-specversion": "1.0",
        "ce-type": "user.created",
        "ce-source": "mkstore/users",
        "ce-subject": str(user.id),
        "content-type": "application/json",
        "X-Request-Id": request.request_id,
        "traceparent": request.traceparent,
    }
    assert {name: headers.get(name) for name in expected} == expected


async def test_changes_of_one_user_at_once_are_told_in_the_order_of_the_versions(real_service: Service) -> None:
    user = await real_service.new_user()
    answers = await asyncio.gather(
        *(real_service.ask(UpdateUser(id=user.id, name=f"Ada the {number}")) for number in range(1, 31))
    )
    told = [sent.event for sent in await real_service.told(user.id, 31)]
    assert told[1:] == [UserUpdated(user=one) for one in sorted(answers, key=lambda one: one.version)]
    assert [event.aggregate_version for event in told] == list(range(1, 32))


async def test_of_changes_that_expect_one_version_only_one_is_made(real_service: Service) -> None:
    user = await real_service.new_user()
    requests = [UpdateUser(id=user.id, name=f"Ada the {number}", expected_version=1) for number in range(10)]
    outcomes = await asyncio.gather(*map(real_service.ask, requests), return_exceptions=True)
    assert len([outcome for outcome in outcomes if not isinstance(outcome, BaseException)]) == 1
    assert len(await real_service.told(user.id, 2)) == 2


async def test_of_two_who_want_one_email_at_once_one_gets_it(real_service: Service) -> None:
    email = new_email()
    outcomes = await asyncio.gather(
        *(real_service.ask(CreateUser(email=email, password=PASSWORD)) for _ in range(8)), return_exceptions=True
    )
    users = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(users) == 1
    await real_service.told(users[0].id, 1)
    told = [sent.event for sent in await all_events(real_service.broker)]
    assert [event for event in told if isinstance(event, UserCreated) and event.user.email == email] == [
        UserCreated(user=users[0])
    ]
