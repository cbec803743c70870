"""What the users service answers, in memory and for real."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from argon2 import PasswordHasher, extract_parameters

from contracts.base import Done
from contracts.errors import ErrorKind
from contracts.users import (
    Authenticate,
    ChangePassword,
    CreateUser,
    DeleteUser,
    GetKeys,
    GetUsers,
    ListUsers,
    Role,
    UpdateUser,
)
from kit.tokens import Verifier
from tests.support.users_harness import PASSWORD, Service, new_email

INVALID_CREDENTIALS = (ErrorKind.UNAUTHENTICATED, "invalid-credentials")


async def test_a_user_can_be_registered_and_looked_up(service: Service) -> None:
    before = datetime.now(UTC)
    user = await service.new_user(email="Ada@EXAMPLE.com".replace("Ada", uuid4().hex.upper()), name="Ada")
    assert user.email == user.email.lower()
    assert (user.name, user.role, user.disabled, user.version) == ("Ada", Role.USER, False, 1)
    assert before <= user.created_at == user.updated_at <= datetime.now(UTC)
    assert user.id.version == 7
    assert await service.get(user.id) == user


async def test_a_taken_email_is_refused_in_whatever_case(service: Service) -> None:
    user = await service.new_user()
    problem = await service.refuse(CreateUser(email=user.email.upper(), password=PASSWORD))
    assert (problem.kind, problem.slug) == (ErrorKind.CONFLICT, "email-taken")


FULL_WIDTH = "".join(chr(ord(letter) + 0xFEE0) for letter in "password1")


@pytest.mark.parametrize("password", ["password1", "PASSWORD1", "iloveyou", FULL_WIDTH])
async def test_a_common_password_is_refused(service: Service, password: str) -> None:
    problem = await service.refuse(CreateUser(email=new_email(), password=password))
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "password-too-common")
    assert [(error.pointer, error.code) for error in problem.errors] == [("/password", "password_too_common")]


async def test_a_password_that_is_the_email_is_refused(service: Service) -> None:
    email = new_email()
    for password in (email, email.upper(), email.partition("@")[0]):
        problem = await service.refuse(CreateUser(email=email, password=password))
        assert problem.slug == "password-too-common"


async def test_what_does_not_fit_the_contract_is_refused_field_by_field(service: Service) -> None:
    broken = CreateUser.model_construct(email="nobody", password="short")
    problem = await service.refuse(broken)
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "invalid-request")
    assert [error.pointer for error in problem.errors] == ["/email", "/password"]


async def test_an_unknown_user_is_not_found(service: Service) -> None:
    nobody = uuid4()
    for request in (
        UpdateUser(id=nobody, name="X"),
        ChangePassword(id=nobody, current_password=PASSWORD, new_password="staple of another colour"),
        DeleteUser(id=nobody),
    ):
        problem = await service.refuse(request)
        assert (problem.kind, problem.slug) == (ErrorKind.NOT_FOUND, "user-not-found")


async def test_many_users_are_looked_up_at_once_and_unknown_ones_left_out(service: Service) -> None:
    users = {user.id: user for user in [await service.new_user() for _ in range(3)]}
    found = await service.ask(GetUsers(ids=(*users, uuid4(), next(iter(users)))))
    assert {user.id: user for user in found.users} == users
    assert len(found.users) == 3
    assert (await service.ask(GetUsers(ids=()))).users == ()


async def test_users_are_listed_newest_first_page_by_page(service: Service) -> None:
    made = [(await service.new_user()).id for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        page = await service.ask(ListUsers(limit=2, cursor=cursor))
        seen += [user.id for user in page.users]
        cursor = page.next_cursor
    assert seen[:5] == made[::-1]


async def test_the_last_page_has_no_cursor(service: Service) -> None:
    user = await service.new_user()
    page = await service.ask(ListUsers(limit=1, email=user.email.upper()))
    assert [found.id for found in page.users] == [user.id]
    assert page.next_cursor is None


async def test_a_broken_cursor_is_refused(service: Service) -> None:
    problem = await service.refuse(ListUsers(cursor="no cursor"))
    assert [(error.pointer, error.code) for error in problem.errors] == [("/cursor", "invalid_cursor")]


async def test_only_what_is_said_changes(service: Service) -> None:
    user = await service.new_user(name="Ada")
    email = new_email()
    changed = await service.ask(UpdateUser(id=user.id, email=email))
    assert (changed.email, changed.name, changed.version) == (email, "Ada", 2)
    assert changed.created_at == user.created_at < changed.updated_at
    promoted = await service.ask(UpdateUser(id=user.id, role=Role.ADMIN, disabled=True, expected_version=2))
    assert (promoted.role, promoted.disabled, promoted.version) == (Role.ADMIN, True, 3)
    nameless = await service.ask(UpdateUser(id=user.id, name=None, role=None))
    assert (nameless.name, nameless.role, nameless.version) == (None, Role.ADMIN, 4)
    assert await service.get(user.id) == nameless


async def test_what_changes_nothing_makes_no_version(service: Service) -> None:
    user = await service.new_user(name="Ada")
    assert await service.ask(UpdateUser(id=user.id)) == user
    assert await service.ask(UpdateUser(id=user.id, name="Ada", email=user.email, disabled=False)) == user


async def test_a_change_of_another_version_is_refused(service: Service) -> None:
    user = await service.new_user()
    problem = await service.refuse(UpdateUser(id=user.id, name="Ada", expected_version=2))
    assert (problem.kind, problem.slug) == (ErrorKind.STALE, "version-mismatch")
    assert await service.get(user.id) == user


async def test_an_email_cannot_be_changed_to_a_taken_one(service: Service) -> None:
    user, other = await service.new_user(), await service.new_user()
    problem = await service.refuse(UpdateUser(id=user.id, name="Ada", email=other.email))
    assert (problem.kind, problem.slug) == (ErrorKind.CONFLICT, "email-taken")
    assert await service.get(user.id) == user


async def test_who_knows_the_password_gets_a_token_that_the_public_keys_verify(service: Service) -> None:
    user = await service.new_user()
    now = datetime.now(UTC)
    tokens = await service.ask(Authenticate(email=f" {user.email.upper()} ", password=PASSWORD))
    keys = (await service.ask(GetKeys())).keys
    claims = Verifier({key.kid: key.model_dump() for key in keys}).verify(tokens.access_token)
    assert (claims.sub, claims.role, tokens.expires_in) == (user.id, "user", 900)
    assert abs(datetime.fromtimestamp(claims.exp, UTC) - now - timedelta(minutes=15)) < timedelta(seconds=30)


async def test_the_same_password_in_another_unicode_form_is_the_same(service: Service) -> None:
    user = await service.new_user(password="Ångström déjà vu")
    await service.ask(Authenticate(email=user.email, password="A\u030angstro\u0308m de\u0301ja\u0300 vu"))


async def test_unknown_wrong_disabled_and_deleted_are_one_refusal(service: Service) -> None:
    active, disabled, deleted = [await service.new_user() for _ in range(3)]
    await service.ask(UpdateUser(id=disabled.id, disabled=True))
    await service.ask(DeleteUser(id=deleted.id))
    problems = [
        await service.refuse(Authenticate(email=email, password=password))
        for email, password in (
            (active.email, PASSWORD.upper()),
            (active.email, ""),
            (disabled.email, PASSWORD),
            (deleted.email, PASSWORD),
            (f"deleted:{deleted.id}", PASSWORD),
            (new_email(), PASSWORD),
            ("no email at all", PASSWORD),
            ("", ""),
        )
    ]
    assert (problems[0].kind, problems[0].slug) == INVALID_CREDENTIALS
    assert all(problem == problems[0] for problem in problems)


class Counting:
    """A hasher that remembers what it checked."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self.checked: list[str] = []
        self.check_needs_rehash = hasher.check_needs_rehash

    def verify(self, stored: str, password: str) -> bool:
        self.checked.append(stored)
        return self._hasher.verify(stored, password)


async def test_every_authentication_costs_exactly_one_check(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    active, disabled = await service.new_user(), await service.new_user()
    await service.ask(UpdateUser(id=disabled.id, disabled=True))
    hasher = Counting(service.passwords()._hasher)
    monkeypatch.setattr(service.passwords(), "_hasher", hasher)
    await service.ask(Authenticate(email=active.email, password=PASSWORD))
    for email in (active.email, disabled.email, new_email(), "no email at all"):
        await service.refuse(Authenticate(email=email, password="another one altogether"))
    assert len(hasher.checked) == 5
    assert len({str(extract_parameters(stored)) for stored in hasher.checked}) == 1  # so they took one time


async def test_a_password_can_be_changed_by_who_knows_it(service: Service) -> None:
    user = await service.new_user()
    new = "staple of another colour"
    assert await service.ask(ChangePassword(id=user.id, current_password=PASSWORD, new_password=new)) == Done()
    await service.ask(Authenticate(email=user.email, password=new))
    assert (await service.refuse(Authenticate(email=user.email, password=PASSWORD))).slug == "invalid-credentials"
    changed = await service.get(user.id)
    assert changed is not None
    assert changed == user.model_copy(update={"version": 2, "updated_at": changed.updated_at})


async def test_a_wrong_current_password_is_refused(service: Service) -> None:
    user = await service.new_user()
    problem = await service.refuse(ChangePassword(id=user.id, current_password="wrong", new_password="another one"))
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "wrong-password")
    assert [error.pointer for error in problem.errors] == ["/currentPassword"]


async def test_a_common_new_password_is_refused(service: Service) -> None:
    user = await service.new_user()
    for password in ("password1", user.email.upper()):
        problem = await service.refuse(ChangePassword(id=user.id, current_password=PASSWORD, new_password=password))
        assert (problem.slug, problem.errors[0].pointer) == ("password-too-common", "/newPassword")
    await service.ask(Authenticate(email=user.email, password=PASSWORD))


async def test_a_deleted_user_is_seen_by_nobody_and_frees_the_email(service: Service) -> None:
    user = await service.new_user(name="Ada")
    assert await service.ask(DeleteUser(id=user.id)) == Done()
    for request in (
        UpdateUser(id=user.id, name="X"),
        ChangePassword(id=user.id, current_password=PASSWORD, new_password="staple of another colour"),
        DeleteUser(id=user.id),
    ):
        assert (await service.refuse(request)).slug == "user-not-found"
    assert (await service.ask(GetUsers(ids=(user.id,)))).users == ()
    assert (await service.ask(ListUsers(email=user.email))).users == ()
    again = await service.new_user(email=user.email)
    assert again.id != user.id


async def test_the_public_keys_say_nothing_of_the_private_ones(service: Service) -> None:
    keys = (await service.ask(GetKeys())).keys
    assert [(key.kty, key.crv, key.alg, key.use) for key in keys] == [("EC", "P-256", "ES256", "sig")]
    assert set(keys[0].model_dump()) == {"kty", "crv", "alg", "use", "kid", "x", "y"}
