"""NATS accounts: one for each service, which imports request by request what its login may publish (ADR 29).

JetStream sends the answer to a request to any subject that the request names. It arrives in the account of the service,
where nothing executes or stores it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from contracts.logins import IMPORTED_API, JETSTREAM_API, OPERATOR
from mkstore.rights import DISCOVERY, Rights

FILE = "deploy/nats-accounts.conf"
STREAMS_ACCOUNT = "MKSTORE"
"""The account with the streams; its name is part of the path under which nats-server stores them."""
_SEVERAL_ANSWERS = ("CONSUMER.MSG.NEXT.", "DIRECT.GET.")
"""Requests to JetStream that are answered by any number of messages."""
_PASSWORD = re.compile(r'"(\$NATS_[A-Z]+_PASSWORD)"')
_HEAD = """\
# NATS accounts and the permissions of their logins. Generated from asyncapi/*.json by `mkstore docs`; nats.conf
# includes this file.
"""

Account = dict[str, list[dict[str, Any]]]


def account_of(login: str) -> str:
    """Return the name of a login's own account."""
    return login.upper()


def sharing(every: Sequence[Rights]) -> dict[str, Account]:
    """Return the `imports` and `exports` of each account, in the format of nats-server's configuration.

    A request to a service that is not among them is not imported.
    """
    accounts: dict[str, Account] = {STREAMS_ACCOUNT: {"exports": [], "imports": []}}
    for rights in every:
        accounts[account_of(rights.login)] = {"exports": [], "imports": list(_imports_of(rights, every))}
    for rights in every:
        exports, imports = accounts[account_of(rights.login)]["exports"], accounts[STREAMS_ACCOUNT]["imports"]
        for subject in sorted(rights.answers):
            by = [STREAMS_ACCOUNT, *(account_of(each.login) for each in every if subject in each.requests)]
            exports.append({"service": subject, "accounts": by})
        for subject in sorted(rights.discovery()):
            by = [STREAMS_ACCOUNT, *(account_of(each.login) for each in every if _verb(subject) in each.discovers)]
            exports.append({"service": subject, "response_type": "stream", "accounts": by})
        imports += [_service(rights.login, each["service"]) for each in exports]
    accounts[STREAMS_ACCOUNT]["exports"] = list(_exports_of_streams(every))
    return accounts


def as_configuration(every: Sequence[Rights], nkeys: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return the accounts with their users, whose passwords are variables such as `$NATS_USERS_PASSWORD`.

    With `nkeys`, the public keys of each login, a login has a user for each of its keys, without a password.
    """
    shared = sharing(every)
    operator = ["jetstream: enabled", *_users(_logins(OPERATOR, nkeys))]
    blocks = [_block(STREAMS_ACCOUNT, operator, shared[STREAMS_ACCOUNT])]
    for rights in every:
        users = [user | {"permissions": rights.permissions()} for user in _logins(rights.login, nkeys)]
        blocks.append(_block(account_of(rights.login), _users(users), shared[account_of(rights.login)]))
    return "\n".join([_HEAD, "accounts {", *blocks, "}", ""])


def _imports_of(rights: Rights, every: Sequence[Rights]) -> Iterator[dict[str, Any]]:
    for request in sorted(rights.api):
        imported = _service(STREAMS_ACCOUNT, f"{JETSTREAM_API}.{request}")
        yield imported | {"to": f"{IMPORTED_API}.{request}"}
    for subject in sorted(rights.acknowledges | rights.publishes):
        yield _service(STREAMS_ACCOUNT, subject)
    for subject in sorted(rights.follows):
        yield {"stream": {"account": STREAMS_ACCOUNT, "subject": subject}}
    for other in every:
        for subject in sorted(rights.requests & other.answers):
            yield _service(other.login, subject)
        for verb in sorted(rights.discovers if other.discoverable else ()):
            yield _service(other.login, f"$SRV.{verb}")


def _exports_of_streams(every: Sequence[Rights]) -> Iterator[dict[str, Any]]:
    for request in _union(rights.api for rights in every):
        answers = {"response_type": "stream"} if request.startswith(_SEVERAL_ANSWERS) else {}
        by = [account_of(rights.login) for rights in every if request in rights.api]
        yield {"service": f"{JETSTREAM_API}.{request}", **answers, "accounts": by}
    for subject in _union(rights.acknowledges | rights.publishes for rights in every):
        by = [account_of(rights.login) for rights in every if subject in rights.acknowledges | rights.publishes]
        yield {"service": subject, "accounts": by}
    for subject in _union(rights.follows for rights in every):
        yield {"stream": subject, "accounts": [account_of(each.login) for each in every if subject in each.follows]}


def _union(sets: Iterable[set[str]]) -> list[str]:
    return sorted(set().union(*sets))


def _verb(subject: str) -> str:
    """Return the verb of a subject that asks all services, such as `$SRV.PING`; empty for one of a single service."""
    verb = subject.removeprefix("$SRV.")
    return verb if verb in DISCOVERY else ""


def _service(account: str, subject: str) -> dict[str, Any]:
    return {"service": {"account": account_of(account), "subject": subject}}


def _logins(login: str, nkeys: Mapping[str, Sequence[str]] | None) -> list[dict[str, Any]]:
    if nkeys is None:
        return [{"user": login, "password": f"$NATS_{login.upper()}_PASSWORD"}]
    return [{"nkey": key} for key in nkeys[login]]


def _users(users: Sequence[Mapping[str, Any]]) -> list[str]:
    # nats-server replaces a variable only outside quotes.
    return ["users: [", *("  " + _PASSWORD.sub(r"\1", json.dumps(user)) for user in users), "]"]


def _block(name: str, lines: Sequence[str], shared: Account) -> str:
    for kind in ("exports", "imports"):
        if shared[kind]:
            lines = [*lines, f"{kind}: [", *(f"  {json.dumps(each)}" for each in shared[kind]), "]"]
    return "\n".join([f"  {name} {{", *(f"    {line}" for line in lines), "  }"])
