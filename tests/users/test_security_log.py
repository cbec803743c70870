"""What the users service writes to the security log."""

from typing import Any

from structlog.testing import capture_logs

from contracts.sessions import Authenticate
from contracts.users import Role, UpdateUser
from tests.support.users_harness import PASSWORD, UsersService, new_email


def events(logs: list[Any]) -> list[Any]:
    """Return the security events, without what every log line has."""
    usual = {"event", "log_level", "level", "logger", "timestamp"}
    return [{name: value for name, value in log.items() if name not in usual} for log in logs if "security" in log]


async def test_sign_ins_and_refusals_name_user_and_address(service: UsersService) -> None:
    user, stranger = await service.new_user(), new_email()
    with capture_logs() as logs:
        session = await service.request(Authenticate(email=user.email, password=PASSWORD, address="192.0.2.7"))
        for email in (user.email, stranger):
            await service.request_refused(Authenticate(email=email, password="a wrong one", address="192.0.2.8"))
        await service.request(UpdateUser(id=user.id, disabled=True))
        await service.request_refused(Authenticate(email=user.email, password=PASSWORD, address="192.0.2.8"))
    own, address = {"user": str(user.id)}, {"address": "192.0.2.8"}
    assert events(logs) == [
        {"security": "sign-in", "session": str(session.id), "address": "192.0.2.7"} | own,
        {"security": "sign-in-refused"} | own | address,
        {"security": "sign-in-refused"} | address,
        {"security": "session-revoked"} | own,
        {"security": "sign-in-refused"} | own | address,
    ]
    assert not any(secret in str(logs) for secret in (user.email, stranger, PASSWORD, session.access_token))


async def test_changed_role_is_an_event(service: UsersService) -> None:
    user = await service.new_user()
    with capture_logs() as logs:
        await service.request(UpdateUser(id=user.id, role=Role.ADMIN))
        await service.request(UpdateUser(id=user.id, role=Role.ADMIN))
        await service.request(UpdateUser(id=user.id, name="Ada"))
    assert events(logs) == [{"security": "role-changed", "user": str(user.id)}]
