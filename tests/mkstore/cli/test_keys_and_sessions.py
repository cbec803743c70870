"""`mkstore keys` and `mkstore sessions`, with a users service that replies as a test says."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from typer.testing import CliRunner, Result

from apps.users.errors import RotationInProgress, SessionNotFound, SigningKeyNotFound
from contracts.base import Done
from contracts.keys import KeyState, ListKeys, RotateKey, SigningKeyList, SigningKeyView, WithdrawKey
from contracts.sessions import ListSessions, RevokeSessions, SessionList, SessionView
from contracts.users import ListUsers, Role, UserPage, UserView
from mkstore.cli.main import app
from mkstore.stack.servers import NatsServer
from tests.support.replying_service import Answer, replying

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ADA, SESSION = uuid4(), uuid4()
KEY = SigningKeyView(kid="k1", state=KeyState.NEXT, created_at=NOW, signs_from=NOW, leaves_at=None)
ONE_SESSION = SessionView(
    id=SESSION, user_id=ADA, device="curl\x1b[2J", address="203.0.113.7", created_at=NOW, last_used_at=NOW
)


def mkstore(nats: NatsServer, *command: str) -> Result:
    return CliRunner().invoke(app, [*command], env={"NATS_URL": nats.url, "COLUMNS": "200"})


def rows(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def users_with(request: ListUsers) -> UserPage:
    """Return Ada for her email, and nobody for any other."""
    ada = UserView(
        id=ADA, email="ada@example.com", name=None, role=Role.USER, disabled=False, version=1, created_at=NOW,
        updated_at=NOW,
    )  # fmt: skip
    return UserPage(data=(ada,) if request.email == ada.email else (), next_cursor=None)


def test_keys_are_listed_and_rotated(nats: NatsServer) -> None:
    with replying(nats.url, {ListKeys: lambda _: SigningKeyList(data=(KEY,)), RotateKey: lambda _: KEY}):
        listed = rows(mkstore(nats, "keys", "list", "--json"))
        assert listed == [
            {"kid": "k1", "state": "next", "createdAt": "2026-01-31T12:00:00Z", "signsFrom": "2026-01-31T12:00:00Z",
             "leavesAt": ""}
        ]  # fmt: skip
        assert rows(mkstore(nats, "keys", "rotate", "--json")) == listed
        assert "1 signing keys" in mkstore(nats, "keys", "list").stdout


def test_key_is_withdrawn(nats: NatsServer) -> None:
    with replying(nats.url, {WithdrawKey: lambda _: SigningKeyList(data=(KEY,))}) as received:
        (row,) = rows(mkstore(nats, "keys", "withdraw", "k0", "--json"))
        assert (row["kid"], received) == ("k1", [WithdrawKey(kid="k0")])
    with replying(nats.url, {WithdrawKey: lambda _: SigningKeyNotFound("k0")}):
        done = mkstore(nats, "keys", "withdraw", "k0")
    assert (done.exit_code, done.stderr) == (1, "There is no signing key k0.\n")


def test_second_rotation_is_refused_in_one_sentence(nats: NatsServer) -> None:
    with replying(nats.url, {RotateKey: lambda _: RotationInProgress()}):
        done = mkstore(nats, "keys", "rotate")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "There is a next signing key already: wait until it signs.\n"


def test_without_the_users_service_the_command_fails(nats: NatsServer) -> None:
    done = mkstore(nats, "keys", "list")
    assert (done.exit_code, done.stderr) == (1, "The users service is unavailable.\n")


def test_sessions_are_listed_by_email_and_by_id(nats: NatsServer) -> None:
    answers: dict[Any, Answer] = {ListUsers: users_with, ListSessions: lambda _: SessionList(data=(ONE_SESSION,))}
    with replying(nats.url, answers) as received:
        for user in ("Ada@example.com", str(ADA)):
            (row,) = rows(mkstore(nats, "sessions", "list", user, "--json"))
            assert (row["id"], row["device"]) == (str(SESSION), "curl\\x1b[2J")
            assert received[-1] == ListSessions(user_id=ADA)
        unknown = mkstore(nats, "sessions", "list", "bob@example.com")
        assert (unknown.exit_code, unknown.stderr) == (1, "There is no user with the email bob@example.com.\n")
        nobody = mkstore(nats, "sessions", "list", "nobody")
        assert (nobody.exit_code, nobody.stderr) == (1, "nobody is neither the id nor the email of a user.\n")


def test_one_session_or_all_are_revoked(nats: NatsServer) -> None:
    with replying(nats.url, {ListUsers: users_with, RevokeSessions: lambda _: Done()}) as received:
        assert mkstore(nats, "sessions", "revoke", str(SESSION), "--user", "ada@example.com").exit_code == 0
        assert received[-1] == RevokeSessions(user_id=ADA, session_id=SESSION)
        assert rows(mkstore(nats, "sessions", "revoke", "--user", str(ADA), "--json"))[0]["session"] == "all"
        assert received[-1] == RevokeSessions(user_id=ADA)
        assert rows(mkstore(nats, "sessions", "revoke", str(SESSION), "--json")) == [
            {"user": "", "session": str(SESSION)}
        ]
        assert received[-1] == RevokeSessions(session_id=SESSION)
        nothing = mkstore(nats, "sessions", "revoke")
        assert (nothing.exit_code, nothing.stderr) == (1, "Name a session, or the user whose sessions end: --user.\n")
    with replying(nats.url, {RevokeSessions: lambda _: SessionNotFound(SESSION)}):
        done = mkstore(nats, "sessions", "revoke", str(SESSION), "--user", str(ADA))
        assert (done.exit_code, done.stderr) == (1, f"There is no session {SESSION}.\n")
