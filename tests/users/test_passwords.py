"""Passwords: the rejected ones, their hashes, and the limit on how many are hashed at once."""

import asyncio
import itertools
import re
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerifyMismatchError
from pydantic import ValidationError

from apps.users.errors import PasswordTooCommon, TooManyPasswords
from apps.users.passwords import Passwords, common_passwords, reject_guessable
from apps.users.settings import Settings
from contracts.errors import ErrorKind
from contracts.sessions import Authenticate
from contracts.users import ChangePassword, CreateUser
from tests.support.password_hashers import BlockingHasher, RecordingHasher
from tests.support.polling import eventually
from tests.support.users_harness import LOW_COST, PASSWORD, UsersService

STRONGER = LOW_COST | {"time_cost": 2}


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Return low-cost passwords with two threads."""
    created = Passwords(PasswordHasher(**LOW_COST), threads=2)
    yield created
    created.close()


@pytest.mark.parametrize(
    "password",
    [
        *("12345678", "Password1", "QWERTYUIOP", "ada.lovelace", "Ada.Lovelace@example.com", "        "),
        *("mkstore-mkstore", "MkStore2026!", "\uff4d\uff4b\uff53\uff54\uff4f\uff52\uff45 1", "2026mkstore"),
        *(
            "ada.lovelace!",
            "Lovelace1815",
            "adalovelace1",
            "AdaAda123",
            "example.com-1",
            "mkstore@example",
            "Byron!Byron",
        ),
    ],
)
def test_common_passwords_and_words_of_the_context_are_rejected(password: str) -> None:
    with pytest.raises(PasswordTooCommon) as refused:
        reject_guessable(password, "password", email="ada.lovelace@example.com", name="Ada King-Byron")
    assert refused.value.problem().errors[0].pointer == "/password"


@pytest.mark.parametrize(
    "password",
    [
        *("correct horse battery", "ada loves byron", "passwort eins", "密码是一个秘密而已", "mkstore horse"),
        *("ada-73914562", "kingdom come"),
    ],
)
def test_other_passwords_are_accepted(password: str) -> None:
    reject_guessable(password, "password", email="ada.lovelace@example.com", name="Ada King-Byron")
    reject_guessable(password, "password", email="a@b.example", name=None)


def test_common_passwords_are_long_enough_to_be_chosen() -> None:
    common = common_passwords()
    assert len(common) > 10_000
    assert all(len(password) >= 8 and password == password.lower() for password in common)


async def test_a_hash_is_argon2id_with_the_given_parameters() -> None:
    passwords = Passwords(PasswordHasher(memory_cost=64, time_cost=3, parallelism=2))
    stored = await passwords.hash(PASSWORD)
    parameters = extract_parameters(stored)
    assert (parameters.type, parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        *(Type.ID, 64, 3, 2),
    )
    assert re.fullmatch(r"\$argon2id\$v=19\$m=64,t=3,p=2\$[\w+/]+\$[\w+/]+", stored)
    passwords.close()


async def test_an_unknown_user_costs_as_much_as_a_wrong_password() -> None:
    hasher = RecordingHasher(**LOW_COST)
    passwords = Passwords(hasher)
    stored = await passwords.hash(PASSWORD)
    assert not await passwords.verify(stored, "another one")
    assert not await passwords.verify(None, "another one")
    known, unknown = hasher.verified
    assert extract_parameters(known.stored) == extract_parameters(unknown.stored)
    assert type(known.error) is type(unknown.error) is VerifyMismatchError  # InvalidHashError would be quick
    passwords.close()


async def test_only_the_right_password_is_verified(passwords: Passwords) -> None:
    stored = await passwords.hash(PASSWORD)
    assert await passwords.verify(stored, PASSWORD)
    assert not await passwords.verify(stored, PASSWORD + " ")
    assert not await passwords.verify(None, PASSWORD)
    assert not await passwords.verify("no hash", PASSWORD)
    assert stored != await passwords.hash(PASSWORD)


async def test_a_hash_with_other_parameters_is_outdated(passwords: Passwords) -> None:
    stored = await passwords.hash(PASSWORD)
    stronger = Passwords(PasswordHasher(**STRONGER))
    assert not passwords.is_outdated(stored)
    assert stronger.is_outdated(stored)
    assert await stronger.verify(stored, PASSWORD)
    stronger.close()


async def test_requests_are_refused_while_too_many_passwords_wait(service: UsersService) -> None:
    user = await service.new_user()
    full = Passwords(PasswordHasher(**LOW_COST), threads=1, max_pending=0)
    service.use_passwords(full)
    for request in (
        CreateUser(email=user.email, password=PASSWORD),
        Authenticate(email=user.email, password=PASSWORD),
        ChangePassword(id=user.id, current_password=PASSWORD, new_password="another colour"),
    ):
        problem = await service.request_refused(request)
        assert (problem.kind, problem.slug) == (ErrorKind.UNAVAILABLE, "service-unavailable")
    assert await service.get(user.id) == user
    full.close()


async def test_the_event_loop_runs_while_passwords_are_hashed() -> None:
    hasher = BlockingHasher(**LOW_COST)
    passwords = Passwords(hasher, threads=1)
    task = asyncio.create_task(passwords.hash(PASSWORD))
    await eventually(lambda: hasher.started)
    hasher.release.set()
    await task
    assert threading.current_thread().name not in hasher.started
    passwords.close()


async def test_passwords_above_the_limit_are_refused_at_once() -> None:
    hasher = BlockingHasher(**LOW_COST)
    passwords = Passwords(hasher, threads=2, clock=lambda: 0.0)  # nobody waits too long
    tasks = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(500)]
    await eventually(lambda: sum(task.done() for task in tasks) == 500 - 66)
    hasher.release.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, TooManyPasswords)]
    assert len(refused) == 500 - 66
    assert refused[0].kind == ErrorKind.UNAVAILABLE
    assert await passwords.hash(PASSWORD)  # there is room again
    passwords.close()


def test_the_environment_cannot_go_below_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ARGON2_MEMORY_KIB": "19455", "ARGON2_ITERATIONS": "1", "ARGON2_PARALLELISM": "0"}.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ValidationError):
                Settings()
    shipped = Settings()
    assert (shipped.argon2_memory_kib, shipped.argon2_iterations, shipped.argon2_parallelism) == (19_456, 2, 1)


async def test_a_login_renews_an_outdated_hash_without_a_new_version(service: UsersService) -> None:
    user = await service.new_user()
    hasher = RecordingHasher(**STRONGER)
    stronger = Passwords(hasher)
    service.use_passwords(stronger)
    for _ in range(2):
        await service.request(Authenticate(email=user.email, password=PASSWORD))
    assert [extract_parameters(each.stored).time_cost for each in hasher.verified] == [1, 2]
    assert await service.get(user.id) == user
    stronger.close()


async def test_a_password_that_waited_too_long_is_not_hashed() -> None:
    hasher, time = BlockingHasher(**LOW_COST), [0.0]
    passwords = Passwords(hasher, threads=1, wait_timeout=1.5, clock=lambda: time[0])
    first = asyncio.create_task(passwords.hash(PASSWORD))
    await eventually(lambda: hasher.started)
    others = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(9)]
    await asyncio.sleep(0)  # each has its time of submission
    time[0] = 1.6
    hasher.release.set()
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert len(hasher.started) == 1
    assert [type(outcome) for outcome in outcomes[1:]] == [TooManyPasswords] * 9
    assert passwords.available() is passwords
    passwords.close()


async def test_a_password_with_a_free_thread_is_never_too_late() -> None:
    later = itertools.count(0, 100)
    passwords = Passwords(PasswordHasher(**LOW_COST), threads=2, clock=lambda: float(next(later)))
    assert await passwords.hash(PASSWORD)
    passwords.close()
