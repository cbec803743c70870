"""`mkstore env`: writes .env.example, with every variable that the services read, from the settings classes."""

import json
import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_origin

import typer

from mkstore import generated
from mkstore.cli.support import HomeOption, fail, run_record
from mkstore.services import SERVICES, ServiceSpec
from mkstore.stack.state_dir import DEFAULT_STATE_DIR, ENVIRONMENTS_FILE

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from kit.runtime.settings import Settings

PATH = ".env.example"

_WIDTH = 110
_OPENING = """\
The environment variables of the services. `uv run --env-file .env ...` and Compose read such a file.
A commented variable has a default, which is shown. `mkstore up` needs none of them.
Generated from the settings classes by `mkstore env`."""
_SECRET = "Secret: production refuses the default. Or {name}_FILE: path of a file with it."  # noqa: S105 - a sentence


class Variable(NamedTuple):
    """A variable of one service; two services that read the same variable in the same way have equal ones."""

    name: str
    comment: tuple[str, ...]
    value: str | None
    """The default; None if the variable is required."""


def command(root: Path | None = None) -> Callable[..., None]:
    """Return the command that writes the file below `root` (the project's root by default)."""

    def env(
        *,
        check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if the file would change.")] = False,
        service: Annotated[
            str | None, typer.Option(metavar="NAME", help="Write nothing; print the variables of a running service.")
        ] = None,
        home: HomeOption = None,
    ) -> None:
        """Write .env.example from the settings classes, or print what one service of a running `mkstore up` gets.

        To run a service in an editor: `env $(mkstore env --service users) faststream run apps.users.main:app`.
        """
        if service is not None:
            typer.echo("\n".join(_running(service, home or DEFAULT_STATE_DIR)))
            return
        folder = root or generated.ROOT
        from kit.runtime.settings import ProvisioningSettings  # noqa: PLC0415 - slow to import, and `--help` is not

        readers = {spec.name: settings_of(spec) for spec in SERVICES} | {"provision": ProvisioningSettings}
        files = {PATH: example(readers)}
        if not check:
            generated.write(folder, files)
            typer.echo("\n".join(files))
        elif changed := generated.differences(folder, files):
            typer.echo("\n".join([*changed, "Run `mkstore env` to update it."]), err=True)
            raise typer.Exit(1)

    return env


def _running(service: str, home: Path) -> list[str]:
    """Return the variables of a service as lines for a shell; exit 1 with a message if there are none."""
    run_record(home)  # a message if no store runs there
    try:
        environments = json.loads((home / ENVIRONMENTS_FILE).read_text())
    except (OSError, ValueError):
        fail(f"{home / ENVIRONMENTS_FILE} cannot be read: start `mkstore up` again, as your user.")
    if service not in environments:
        fail(f"There is no service {service!r}; there are {', '.join(environments)}.")
    return [f"{name}={shlex.quote(value)}" for name, value in sorted(environments[service].items())]


def settings_of(spec: ServiceSpec) -> "type[Settings]":
    """Return the settings class of a service: `Settings` in `settings.py`, beside the module of its app."""
    package = spec.app.rpartition(".")[0]
    settings: type[Settings] = import_module(f"{package}.settings").Settings
    return settings


def example(services: "Mapping[str, type[Settings]]") -> str:
    """Return the text of the file: variables of every service, then of some services, then of one service."""
    readers: dict[Variable, list[str]] = {}
    for service, settings in services.items():
        for name, field in settings.model_fields.items():
            readers.setdefault(_variable(name, field), []).append(service)
    groups: dict[tuple[str, ...], list[Variable]] = {}
    for variable, services_of in readers.items():
        groups.setdefault(tuple(services_of), []).append(variable)
    order = list(services)
    sections = [_comment(_OPENING)]
    for names in sorted(groups, key=lambda names: (-len(names), order.index(names[0]))):
        sections.append(_heading(names, len(services)))
        sections += [_entry(variable) for variable in groups[names]]
    return "\n\n".join(sections) + "\n"


def _variable(name: str, field: "FieldInfo") -> Variable:
    from pydantic import SecretStr  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    from kit.runtime.settings import secret_rule  # noqa: PLC0415 - same reason

    comment = [field.description or ""]
    if get_origin(field.annotation) is Literal:
        comment.append(f"One of: {', '.join(get_args(field.annotation))}.")
    default = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    if secret_rule(field):
        comment.append(_SECRET.format(name=name.upper()))
    if isinstance(default, SecretStr):
        return Variable(name.upper(), tuple(comment), "")
    return Variable(name.upper(), tuple(comment), None if field.is_required() else _as_text(default))


def _as_text(value: Any) -> str:
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - same reason

    plain = to_jsonable_python(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _entry(variable: Variable) -> str:
    line = f"{variable.name}=" if variable.value is None else f"#{variable.name}={variable.value}"
    return f"{_comment(' '.join(variable.comment))}\n{line}"


def _heading(names: Sequence[str], of: int) -> str:
    title = "Every service" if len(names) == of else " and ".join(names).capitalize()
    return f"# ---- {title} ".ljust(_WIDTH, "-")


def _comment(text: str) -> str:
    lines = (line for paragraph in text.splitlines() for line in textwrap.wrap(paragraph, _WIDTH - 2))
    return "\n".join(f"# {line}" for line in lines)
