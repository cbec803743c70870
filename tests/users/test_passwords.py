"""Passwords: which are refused, how they are hashed, and that a flood of them is turned away."""

import asyncio
import re
import threading
import time
from collections.abc import Iterator

import pytest
from argon2 import Type, extract_parameters
from argon2.exceptions import VerifyMismatchError
from pydantic import ValidationError

from apps.users import passwords as passwords_room
from apps.users.errors import PasswordTooCommon, TooManyPasswords
from apps.users.passwords import Passwords, common_passwords, refuse_easy
from apps.users.settings import Settings
from contracts.errors import ErrorKind
from contracts.users import Authenticate, ChangePassword, CreateUser
from tests.support.polling import eventually
from tests.support.users_harness import CHEAP, PASSWORD, Service


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Return a cheap hasher with two threads."""
    made = Passwords(**CHEAP, threads=2)
    yield made
    made.close()


@pytest.mark.parametrize(
    "password", ["12345678", "Password1", "QWERTYUIOP", "ada.lovelace", "Ada.Lovelace@example.com"]
)
def test_an_easy_password_is_refused(password: str) -> None:
    with pytest.raises(PasswordTooCommon) as refused:
        refuse_easy(password, "ada.lovelace@example.com", "password")
    assert refused.value.problem().errors[0].pointer == "/password"


@pytest.mark.parametrize("password", ["correct horse battery", "ada.lovelace!", "passwort eins", "密码是一个秘密而已"])
def test_any_other_is_taken(password: str) -> None:
    refuse_easy(password, "ada.lovelace@example.com", "password")


def test_the_list_of_common_passwords_holds_what_could_be_chosen() -> None:
    common = common_passwords()
    assert len(common) > 10_000
    assert all(len(password) >= 8 and password == password.lower() for password in common)


async def test_a_hash_is_argon2id_with_the_parameters_of_the_settings() -> None:
    passwords = Passwords(memory_kib=64, iterations=3, parallelism=2)
    stored = await passwords.hash(PASSWORD)
    found = extract_parameters(stored)
    assert (found.type, found.memory_cost, found.time_cost, found.parallelism) == (Type.ID, 64, 3, 2)
    assert re.fullmatch(r"\$argon2id\$v=19\$m=64,t=3,p=2\$[\w+/]+\$[\w+/]+", stored)
    passwords.close()


def test_to_check_a_password_of_nobody_takes_a_whole_hash(passwords: Passwords) -> None:
    assert extract_parameters(passwords._nobody) == extract_parameters(passwords._hasher.hash(PASSWORD))
    with pytest.raises(VerifyMismatchError):  # and not InvalidHashError, which is quick
        passwords._hasher.verify(passwords._nobody, PASSWORD)


async def test_the_right_password_is_told_from_a_wrong_one(passwords: Passwords) -> None:
    stored = await passwords.hash(PASSWORD)
    assert await passwords.verify(stored, PASSWORD)
    assert not await passwords.verify(stored, PASSWORD + " ")
    assert not await passwords.verify(None, PASSWORD)
    assert not await passwords.verify("no hash", PASSWORD)
    assert stored != await passwords.hash(PASSWORD)


async def test_a_hash_of_other_parameters_is_outdated(passwords: Passwords) -> None:
    stored = await passwords.hash(PASSWORD)
    stronger = Passwords(**{**CHEAP, "iterations": 2})
    assert not passwords.is_outdated(stored)
    assert stronger.is_outdated(stored)
    assert await stronger.verify(stored, PASSWORD)
    stronger.close()


async def test_a_request_is_refused_before_anything_is_done_for_it(service: Service) -> None:
    user = await service.new_user()
    passwords = service.passwords()
    passwords._most = 0
    for request in (
        CreateUser(email=user.email, password=PASSWORD),
        Authenticate(email=user.email, password=PASSWORD),
        ChangePassword(id=user.id, current_password=PASSWORD, new_password="another colour"),
    ):
        problem = await service.refuse(request)
        assert (problem.kind, problem.slug) == (ErrorKind.UNAVAILABLE, "service-unavailable")
    assert await service.get(user.id) == user


async def test_the_event_loop_runs_while_passwords_are_hashed() -> None:
    passwords = Passwords(memory_kib=19_456, iterations=2, parallelism=1, threads=1)
    work = asyncio.gather(*(passwords.hash(PASSWORD) for _ in range(6)))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.001)
        turns += 1
    await work
    assert turns > 12
    passwords.close()


async def test_a_flood_is_turned_away_at_once(passwords: Passwords) -> None:
    outcomes = await asyncio.gather(*(passwords.hash(PASSWORD) for _ in range(500)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, TooManyPasswords)]
    assert len(refused) == 500 - 66
    assert refused[0].kind == ErrorKind.UNAVAILABLE
    assert await passwords.hash(PASSWORD)  # and afterwards there is room again


def test_the_environment_cannot_go_below_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ARGON2_MEMORY_KIB": "19455", "ARGON2_ITERATIONS": "1", "ARGON2_PARALLELISM": "0"}.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ValidationError):
                Settings()
    shipped = Settings()
    assert (shipped.argon2_memory_kib, shipped.argon2_iterations, shipped.argon2_parallelism) == (19_456, 2, 1)


async def test_an_unknown_user_takes_as_long_as_a_wrong_password() -> None:
    passwords = Passwords(memory_kib=19_456, iterations=2, parallelism=1, threads=1)
    stored = await passwords.hash(PASSWORD)

    async def seconds(known: str | None) -> float:
        started = time.perf_counter()
        await passwords.verify(known, "another one")
        return time.perf_counter() - started

    # The fastest of several, in turns: whatever else the machine does only ever adds.
    pairs = [(await seconds(stored), await seconds(None)) for _ in range(15)]
    known, unknown = (min(times) for times in zip(*pairs, strict=True))
    assert 0.5 < known / unknown < 2
    passwords.close()


async def test_a_hash_grows_with_the_parameters_and_nobody_notices(service: Service) -> None:
    user = await service.new_user()
    old = service.passwords()._hasher
    stronger = Passwords(**{**CHEAP, "iterations": 2})
    service.passwords()._hasher = stronger._hasher
    await service.ask(Authenticate(email=user.email, password=PASSWORD))
    service.passwords()._hasher = old
    assert await service.get(user.id) == user
    stronger.close()


async def test_a_password_that_waited_for_too_long_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(**CHEAP, threads=1)
    begun: list[int] = []
    go = threading.Event()

    async def one(number: int) -> None:
        def work() -> None:
            begun.append(number)
            go.wait(10)

        await passwords._on_a_thread(work)

    monkeypatch.setattr(passwords_room, "_LONGEST_WAIT", 0.2)
    first = asyncio.create_task(one(0))
    await eventually(lambda: begun)
    others = [asyncio.create_task(one(number)) for number in range(1, 10)]
    await asyncio.sleep(0.3)
    go.set()
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    passwords.close()
    assert begun == [0]
    assert [type(each) for each in outcomes[1:]] == [TooManyPasswords] * 9
    assert passwords.free() is passwords


async def test_a_password_that_found_a_thread_free_is_never_too_late(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords_room, "_LONGEST_WAIT", -1)
    assert await passwords.hash(PASSWORD)
