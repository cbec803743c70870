"""The events of the users service: one for each successful change, in order, and none for a refused one."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

from contracts.sessions import Authenticate
from contracts.users import (
    ChangePassword,
    CreateUser,
    DeleteUser,
    UpdateUser,
    UserCreated,
    UserDeleted,
    UserUpdated,
    UserView,
)
from kit.runtime.tracing import Trace, new_traceparent, trace
from tests.support.users_harness import PASSWORD, UsersService, new_email


async def test_each_change_publishes_one_event_in_order(service: UsersService) -> None:
    created = await service.new_user(name="Ada")
    updated = await service.request(UpdateUser(id=created.id, name=None))
    await service.request(ChangePassword(id=created.id, current_password=PASSWORD, new_password="another colour"))
    changed = await service.get(created.id)
    assert changed is not None
    await service.request(DeleteUser(id=created.id))
    events = [each.event for each in await service.published_events(created.id, 4)]
    assert events[:3] == [UserCreated(user=created), UserUpdated(user=updated), UserUpdated(user=changed)]
    assert isinstance(events[3], UserDeleted)
    assert events[3] == UserDeleted(id=created.id, version=4, deleted_at=events[3].deleted_at)
    assert events[3].deleted_at > changed.updated_at


async def test_refused_and_empty_changes_publish_no_event(service: UsersService) -> None:
    user, other = await service.new_user(name="Ada"), await service.new_user()
    await service.request_refused(CreateUser(email=user.email, password=PASSWORD))
    await service.request_refused(UpdateUser(id=user.id, email=other.email))
    await service.request_refused(UpdateUser(id=user.id, name="Countess", expected_version=7))
    await service.request_refused(ChangePassword(id=user.id, current_password="wrong", new_password="another colour"))
    await service.request(UpdateUser(id=user.id, name="Ada"))
    await service.request(Authenticate(email=user.email, password=PASSWORD))
    await service.request(DeleteUser(id=user.id))
    await service.request_refused(DeleteUser(id=user.id))
    published = await service.published_events(user.id, 2)
    assert [each.event.subject for each in published] == ["user.created", "user.deleted"]


async def test_event_headers_are_cloud_events_with_the_request_trace(real_service: UsersService) -> None:
    request = Trace(uuid4().hex, new_traceparent())
    trace.set(request)
    user = await real_service.new_user()
    await real_service.request(UpdateUser(id=user.id, name="Ada"))
    published = await real_service.published_events(user.id, 2)
    assert [each.headers["ce-aggregateversion"] for each in published] == ["1", "2"]
    headers = published[0].headers
    assert UUID(headers["ce-id"]) != UUID(published[1].headers["ce-id"])
    assert user.created_at <= datetime.fromisoformat(headers["ce-time"]) <= datetime.now(UTC)
    expected = {
        "Nats-Msg-Id": headers["ce-id"],
        "ce-specversion": "1.0",
        "ce-type": "user.created",
        "ce-source": "mkstore/users",
        "ce-subject": str(user.id),
        "ce-dataschema": "urn:mkstore:schema:user.created:1",
        "content-type": "application/json",
        "X-Request-Id": request.request_id,
        "traceparent": request.traceparent,
    }
    assert {name: headers.get(name) for name in expected} == expected


async def test_concurrent_changes_of_a_user_are_published_by_version(real_service: UsersService) -> None:
    user = await real_service.new_user()
    views = await asyncio.gather(
        *(real_service.request(UpdateUser(id=user.id, name=f"Ada the {number}")) for number in range(1, 31))
    )
    events = [each.event for each in await real_service.published_events(user.id, 31)]
    assert events[1:] == [UserUpdated(user=view) for view in sorted(views, key=lambda view: view.version)]
    assert [event.aggregate_version for event in events] == list(range(1, 32))


async def test_one_of_several_changes_that_expect_a_version_succeeds(real_service: UsersService) -> None:
    user = await real_service.new_user()
    requests = [UpdateUser(id=user.id, name=f"Ada the {number}", expected_version=1) for number in range(10)]
    outcomes = await asyncio.gather(*map(real_service.request, requests), return_exceptions=True)
    assert len([outcome for outcome in outcomes if not isinstance(outcome, BaseException)]) == 1
    assert len(await real_service.published_events(user.id, 2)) == 2


async def test_one_of_several_registrations_with_an_email_succeeds(real_service: UsersService) -> None:
    email = new_email()
    outcomes = await asyncio.gather(
        *(real_service.request(CreateUser(email=email, password=PASSWORD)) for _ in range(8)), return_exceptions=True
    )
    users = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(users) == 1
    await real_service.published_events(users[0].id, 1)
    events = [each.event for each in await real_service.all_events()]
    assert [event for event in events if isinstance(event, UserCreated) and event.user.email == email] == [
        UserCreated(user=UserView(**dict(users[0])))
    ]
