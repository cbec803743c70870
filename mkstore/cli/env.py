"""`mkstore env`: every variable that the services read, with what it means, in .env.example."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from kit.runtime.settings import Settings
from mkstore import generated

PATH = ".env.example"

_WIDTH = 110
_OPENING = """\
What the services read from the environment: `uv run --env-file .env ...` and Compose read such a file.
A variable that is commented out has a default, which is shown. `mkstore up` needs none of them.
Generated from the settings classes by `mkstore env`."""
_SECRET = "Secret: production refuses the default."  # noqa: S105 - a sentence


class Variable(NamedTuple):
    """One variable as one service reads it; equal where two services mean the same by it."""

    name: str
    comment: tuple[str, ...]
    value: str | None
    """The default; None: there is none, and the service does not start without it."""


def env(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 and say so when the file would change.")
    ] = False,
) -> None:
    """Write .env.example from the services' settings classes."""
    from apps.gateway.settings import Settings as Gateway  # noqa: PLC0415 - slow, and this command's alone
    from apps.payments.settings import Settings as Payments  # noqa: PLC0415 - likewise
    from apps.users.settings import Settings as Users  # noqa: PLC0415 - likewise

    files = {PATH: example({"gateway": Gateway, "users": Users, "payments": Payments})}
    if not check:
        generated.write(generated.ROOT, files)
        typer.echo("\n".join(files))
    elif found := generated.differences(generated.ROOT, files):
        typer.echo("\n".join([*found, "`mkstore env` writes it as the settings classes say."]), err=True)
        raise typer.Exit(1)


def example(services: Mapping[str, type[Settings]]) -> str:
    """Return the text: first what every service reads, then what some do, then what one alone does."""
    readers: dict[Variable, list[str]] = {}
    for service, settings in services.items():
        for name, field in settings.model_fields.items():
            readers.setdefault(_variable(name, field), []).append(service)
    groups: dict[tuple[str, ...], list[Variable]] = {}
    for variable, who in readers.items():
        groups.setdefault(tuple(who), []).append(variable)
    order = list(services)
    parts = [_comment(_OPENING)]
    for names in sorted(groups, key=lambda names: (-len(names), order.index(names[0]))):
        parts.append(_heading(names, len(services)))
        parts += [_entry(variable) for variable in groups[names]]
    return "\n\n".join(parts) + "\n"


def _variable(name: str, field: FieldInfo) -> Variable:
    said = [field.description or ""]
    if get_origin(field.annotation) is Literal:
        said.append(f"One of: {', '.join(get_args(field.annotation))}.")
    default = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, SecretStr):
        return Variable(name.upper(), (*said, _SECRET), "")
    return Variable(name.upper(), tuple(said), None if field.is_required() else _written(default))


def _written(value: Any) -> str:
    plain = to_jsonable_python(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _entry(variable: Variable) -> str:
    line = f"{variable.name}=" if variable.value is None else f"#{variable.name}={variable.value}"
    return f"{_comment(' '.join(variable.comment))}\n{line}"


def _heading(names: Sequence[str], of: int) -> str:
    title = "Every service" if len(names) == of else " and ".join(names).capitalize()
    return f"# ---- {title} ".ljust(_WIDTH, "-")


def _comment(text: str) -> str:
    lines = (line for part in text.splitlines() for line in textwrap.wrap(part, _WIDTH - 2))
    return "\n".join(f"# {line}" for line in lines)
