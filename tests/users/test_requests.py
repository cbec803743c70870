"""The requests of the users service, in memory and on real servers."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from argon2 import extract_parameters

from apps.users.models import EmailRules
from apps.users.passwords import Passwords
from contracts.base import Done
from contracts.errors import ErrorKind
from contracts.keys import GetKeys
from contracts.sessions import Authenticate
from contracts.users import ChangePassword, CreateUser, DeleteUser, GetUsers, ListUsers, Role, UpdateUser
from kit.tokens import Verifier
from tests.support.password_hashers import RecordingHasher
from tests.support.users_harness import LOW_COST, PASSWORD, UsersService, new_email

INVALID_CREDENTIALS = (ErrorKind.UNAUTHENTICATED, "invalid-credentials")


async def test_a_user_can_be_created_and_read(service: UsersService) -> None:
    before = datetime.now(UTC)
    user = await service.new_user(email="Ada@EXAMPLE.com".replace("Ada", uuid4().hex.upper()), name="Ada")
    assert user.email == user.email.lower()
    assert (user.name, user.role, user.disabled, user.version) == ("Ada", Role.USER, False, 1)
    assert before <= user.created_at == user.updated_at <= datetime.now(UTC)
    assert user.id.version == 7
    assert await service.get(user.id) == user


async def test_a_taken_email_is_refused_in_any_case(service: UsersService) -> None:
    user = await service.new_user()
    problem = await service.request_refused(CreateUser(email=user.email.upper(), password=PASSWORD))
    assert (problem.kind, problem.slug) == (ErrorKind.CONFLICT, "email-taken")


FULL_WIDTH = "".join(chr(ord(letter) + 0xFEE0) for letter in "password1")


@pytest.mark.parametrize("password", ["password1", "PASSWORD1", "iloveyou", FULL_WIDTH])
async def test_a_common_password_is_refused(service: UsersService, password: str) -> None:
    problem = await service.request_refused(CreateUser(email=new_email(), password=password))
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "password-too-common")
    assert [(error.pointer, error.code) for error in problem.errors] == [("/password", "password_too_common")]


async def test_a_password_that_is_the_email_is_refused(service: UsersService) -> None:
    email = new_email()
    for password in (email, email.upper(), email.partition("@")[0]):
        problem = await service.request_refused(CreateUser(email=email, password=password))
        assert problem.slug == "password-too-common"


async def test_an_invalid_request_is_refused_with_its_fields(service: UsersService) -> None:
    invalid = CreateUser.model_construct(email="nobody", password="short")
    problem = await service.request_refused(invalid)
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "invalid-request")
    assert [error.pointer for error in problem.errors] == ["/email", "/password"]


async def test_test_domain_is_accepted_in_development(service: UsersService) -> None:
    email = f"{uuid4().hex}@example.test"
    user = await service.new_user(email=email)
    assert (user.email, (await service.get(user.id))) == (email, user)


async def test_test_domain_is_refused_in_production(service: UsersService) -> None:
    user = await service.new_user()
    service.use_email_rules(EmailRules(test_domains=False))
    email = f"{uuid4().hex}@Example.TEST"
    for request in (
        CreateUser(email=email, password=PASSWORD),
        UpdateUser(id=user.id, email=email),
    ):
        problem = await service.request_refused(request)
        assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "invalid-request")
        assert [(error.pointer, error.code) for error in problem.errors] == [("/email", "test_domain")]
        assert "only in development" in problem.detail
    assert await service.get(user.id) == user


async def test_an_unknown_user_is_not_found(service: UsersService) -> None:
    unknown = uuid4()
    for request in (
        UpdateUser(id=unknown, name="X"),
        ChangePassword(id=unknown, current_password=PASSWORD, new_password="staple of another colour"),
        DeleteUser(id=unknown),
    ):
        problem = await service.request_refused(request)
        assert (problem.kind, problem.slug) == (ErrorKind.NOT_FOUND, "user-not-found")


async def test_unknown_ids_are_left_out(service: UsersService) -> None:
    users = {user.id: user for user in [await service.new_user() for _ in range(3)]}
    reply = await service.request(GetUsers(ids=(*users, uuid4(), next(iter(users)))))
    assert {user.id: user for user in reply.users} == users
    assert len(reply.users) == 3
    assert (await service.request(GetUsers(ids=()))).users == ()


async def test_users_are_listed_newest_first_in_pages(service: UsersService) -> None:
    created = [(await service.new_user()).id for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        page = await service.request(ListUsers(limit=2, cursor=cursor))
        seen += [user.id for user in page.data]
        cursor = page.next_cursor
    assert seen[:5] == created[::-1]


async def test_the_last_page_has_no_cursor(service: UsersService) -> None:
    user = await service.new_user()
    page = await service.request(ListUsers(limit=1, email=user.email.upper()))
    assert [each.id for each in page.data] == [user.id]
    assert page.next_cursor is None


async def test_an_invalid_cursor_is_refused(service: UsersService) -> None:
    problem = await service.request_refused(ListUsers(cursor="no cursor"))
    assert [(error.pointer, error.code) for error in problem.errors] == [("/cursor", "invalid_cursor")]


async def test_only_the_given_fields_change(service: UsersService) -> None:
    user = await service.new_user(name="Ada")
    email = new_email()
    changed = await service.request(UpdateUser(id=user.id, email=email))
    assert (changed.email, changed.name, changed.version) == (email, "Ada", 2)
    assert changed.created_at == user.created_at < changed.updated_at
    promoted = await service.request(UpdateUser(id=user.id, role=Role.ADMIN, disabled=True, expected_version=2))
    assert (promoted.role, promoted.disabled, promoted.version) == (Role.ADMIN, True, 3)
    nameless = await service.request(UpdateUser(id=user.id, name=None, role=None))
    assert (nameless.name, nameless.role, nameless.version) == (None, Role.ADMIN, 4)
    assert await service.get(user.id) == nameless


async def test_an_empty_change_makes_no_version(service: UsersService) -> None:
    user = await service.new_user(name="Ada")
    assert await service.request(UpdateUser(id=user.id)) == user
    assert await service.request(UpdateUser(id=user.id, name="Ada", email=user.email, disabled=False)) == user


async def test_a_change_that_expects_another_version_is_refused(service: UsersService) -> None:
    user = await service.new_user()
    problem = await service.request_refused(UpdateUser(id=user.id, name="Ada", expected_version=2))
    assert (problem.kind, problem.slug) == (ErrorKind.STALE, "version-mismatch")
    assert await service.get(user.id) == user


async def test_an_email_cannot_be_changed_to_a_taken_one(service: UsersService) -> None:
    user, other = await service.new_user(), await service.new_user()
    problem = await service.request_refused(UpdateUser(id=user.id, name="Ada", email=other.email))
    assert (problem.kind, problem.slug) == (ErrorKind.CONFLICT, "email-taken")
    assert await service.get(user.id) == user


async def test_the_password_is_exchanged_for_a_verifiable_token(service: UsersService) -> None:
    user = await service.new_user()
    now = datetime.now(UTC)
    tokens = await service.request(Authenticate(email=f" {user.email.upper()} ", password=PASSWORD))
    keys = (await service.request(GetKeys())).keys
    claims = Verifier({key.kid: key.model_dump() for key in keys}).verify(tokens.access_token)
    assert (claims.sub, claims.role, tokens.expires_in) == (user.id, "user", 900)
    assert abs(datetime.fromtimestamp(claims.exp, UTC) - now - timedelta(minutes=15)) < timedelta(seconds=30)


async def test_unicode_forms_of_a_password_are_equal(service: UsersService) -> None:
    user = await service.new_user(password="Ångström déjà vu")
    await service.request(Authenticate(email=user.email, password="A\u030angstro\u0308m de\u0301ja\u0300 vu"))


async def test_unknown_wrong_disabled_and_deleted_get_the_same_refusal(service: UsersService) -> None:
    active, disabled, deleted = [await service.new_user() for _ in range(3)]
    await service.request(UpdateUser(id=disabled.id, disabled=True))
    await service.request(DeleteUser(id=deleted.id))
    problems = [
        await service.request_refused(Authenticate(email=email, password=password))
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


async def test_every_login_verifies_exactly_one_hash(service: UsersService) -> None:
    active, disabled = await service.new_user(), await service.new_user()
    await service.request(UpdateUser(id=disabled.id, disabled=True))
    hasher = RecordingHasher(**LOW_COST)
    passwords = Passwords(hasher)
    service.use_passwords(passwords)
    await service.request(Authenticate(email=active.email, password=PASSWORD))
    for email in (active.email, disabled.email, new_email(), "no email at all"):
        await service.request_refused(Authenticate(email=email, password="another one altogether"))
    assert len(hasher.verified) == 5
    costs = {str(extract_parameters(each.stored)) for each in hasher.verified}
    assert len(costs) == 1  # so all took the same time
    passwords.close()


async def test_a_password_is_changed_with_the_current_one(service: UsersService) -> None:
    user = await service.new_user()
    new = "staple of another colour"
    assert await service.request(ChangePassword(id=user.id, current_password=PASSWORD, new_password=new)) == Done()
    await service.request(Authenticate(email=user.email, password=new))
    problem = await service.request_refused(Authenticate(email=user.email, password=PASSWORD))
    assert problem.slug == "invalid-credentials"
    changed = await service.get(user.id)
    assert changed is not None
    assert changed == user.model_copy(update={"version": 2, "updated_at": changed.updated_at})


async def test_a_wrong_current_password_is_refused(service: UsersService) -> None:
    user = await service.new_user()
    problem = await service.request_refused(
        ChangePassword(id=user.id, current_password="wrong", new_password="another one")
    )
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "wrong-password")
    assert [error.pointer for error in problem.errors] == ["/currentPassword"]


async def test_a_common_new_password_is_refused(service: UsersService) -> None:
    user = await service.new_user()
    for password in ("password1", user.email.upper()):
        problem = await service.request_refused(
            ChangePassword(id=user.id, current_password=PASSWORD, new_password=password)
        )
        assert (problem.slug, problem.errors[0].pointer) == ("password-too-common", "/newPassword")
    await service.request(Authenticate(email=user.email, password=PASSWORD))


async def test_a_deleted_user_is_gone_and_its_email_free(service: UsersService) -> None:
    user = await service.new_user(name="Ada")
    assert await service.request(DeleteUser(id=user.id)) == Done()
    for request in (
        UpdateUser(id=user.id, name="X"),
        ChangePassword(id=user.id, current_password=PASSWORD, new_password="staple of another colour"),
        DeleteUser(id=user.id),
    ):
        assert (await service.request_refused(request)).slug == "user-not-found"
    assert (await service.request(GetUsers(ids=(user.id,)))).users == ()
    assert (await service.request(ListUsers(email=user.email))).data == ()
    again = await service.new_user(email=user.email)
    assert again.id != user.id


async def test_published_keys_have_no_private_part(service: UsersService) -> None:
    keys = (await service.request(GetKeys())).keys
    assert [(key.kty, key.crv, key.alg, key.use) for key in keys] == [("EC", "P-256", "ES256", "sig")]
    assert set(keys[0].model_dump()) == {"kty", "crv", "alg", "use", "kid", "x", "y"}
