"""The plan of a new event, and of its durable consumer in another service."""

import ast
from collections.abc import Mapping
from pathlib import Path

from mkstore.new import golden, readme, templates
from mkstore.new.message_names import EventNames
from mkstore.new.modules import Module
from mkstore.new.names import NameRefused
from mkstore.new.plan import Draft, Plan
from mkstore.new.project import Service, module_of_events, refuse_taken, service_of, subject_of

_CONSUMERS = "contracts/consumers.py"


def plan_event(root: Path, service: str, names: EventNames, consumer: str | None = None) -> Plan:
    """Return the plan of a new event of a service, and of its consumer in another one; nothing is written.

    Raises `NameRefused` for a name that is taken or does not fit the service, and for a service that cannot publish or
    consume it; `CannotChange` if a file that the plan changes is not as expected.
    """
    draft = Draft(root)
    publisher = service_of(draft, service)
    if names.noun not in publisher.nouns:
        nouns = " or ".join(noun.capitalize() for noun in publisher.nouns)
        raise NameRefused(f"The name of an event of {service} begins with {nouns}; {names.name} does not.")
    refuse_taken(draft, [names.name], names.subject)
    module = _add_contract(draft, publisher, names)
    values = names.values() | {"publisher": service, "stream": publisher.stream, "contracts": module}
    _declare(draft, publisher, names, module)
    draft.create(f"tests/{service}/test_{names.snake}.py", templates.render("event/test_published.py", values))
    if consumer is not None:
        _consume(draft, consumer, publisher, names, values)
    return draft.plan()


def emission(root: Path, service: str, names: EventNames) -> str:
    """Return the statement that publishes the event of an object with a view; without siblings its fields are open."""
    draft = Draft(root)
    _, events = module_of_events(draft, names.noun)
    has_view = any(_base(node).startswith("_") for node in events)
    event = f"{names.name}({names.noun}={names.noun}.view())" if has_view else f"{names.name}(...)"
    takes_many = "def emit(self, events:" in draft.read(f"apps/{service}/repository.py")
    return f"await {service}.emit({f'[({event}, trace.get())]' if takes_many else event})"


def _add_contract(draft: Draft, service: Service, names: EventNames) -> str:
    """Add the class after its siblings, and its golden message; return the module.

    Siblings are the events of the noun that share a base class; the first one also gives the example.
    """
    module, events = module_of_events(draft, names.noun)
    siblings = [node for node in events if _base(node).startswith("_")]
    if siblings:
        like: str | None = subject_of(siblings[0])
        example = _example(module, siblings[0])
        code = templates.render("event/contract.py", names.values() | {"base": _base(siblings[0]), "example": example})
    else:
        like = None
        code = templates.render("event/contract_with_fields.py", names.values() | {"fields": golden.OWN_FIELDS})
    module.insert_after((siblings or events)[-1], code)
    for imported in ("Event", "example") if like is None else ():
        module.add_import("contracts.base", imported)
        module.add_import("uuid", "UUID")
    golden.add_event(draft, service.name, names.subject, like)
    return module.path.removesuffix(".py").replace("/", ".")


def _declare(draft: Draft, service: Service, names: EventNames, contracts: str) -> None:
    main = Module(draft, service.path("main"))
    main.add_import(contracts, names.name)
    main.add_to_argument("ServiceSpecification", "publishes", names.name)
    readme.add_subject(draft, service.name, "Publishes", f"`{names.subject}` (`{service.stream}`)")


def _consume(draft: Draft, name: str, publisher: Service, names: EventNames, values: Mapping[str, str]) -> None:
    consumer = service_of(draft, name)
    if name == publisher.name:
        raise NameRefused(f"{name} publishes the event: its consumer is another service.")
    if not (draft.root / consumer.path("events")).exists():
        raise NameRefused(f"{name} consumes no events: {consumer.path('events')} does not exist.")
    constant, durable = f"{name}_on_{names.snake}".upper(), f"{name}-on_{names.snake}"
    consumers = Module(draft, _CONSUMERS)
    if consumers.defines(constant):
        raise NameRefused(f"{_CONSUMERS} has {constant} already: choose another name.")
    consumers.add_import(values["contracts"], names.name)
    consumers.add_import("contracts.streams", publisher.stream)
    consumers.append(f'{constant} = Durable("{durable}", {names.name}, {publisher.stream})\n')
    main = Module(draft, consumer.path("main"))
    main.add_import("contracts.streams", publisher.stream)
    main.add_to_argument("DatabaseService", "consumes", publisher.stream)
    values = {**values, "consumer": name, "DURABLE": constant}
    events = Module(draft, consumer.path("events"))
    if not events.defines("log"):
        events.add_import("structlog.stdlib", "get_logger")
        events.insert_before_router("log = get_logger(__name__)\n")
    events.add_import("contracts.consumers", constant)
    events.add_import(values["contracts"], names.name)
    events.append_handler("router.consume", templates.render("event/handler.py", values))
    readme.add_subject(draft, name, "Consumes", f"`{names.subject}` (durable `{durable}`)")
    draft.create(f"tests/{name}/test_on_{names.snake}.py", templates.render("event/test_consumed.py", values))


def _base(node: ast.ClassDef) -> str:
    return ast.unparse(node.bases[0]) if node.bases else ""


def _example(module: Module, node: ast.ClassDef) -> str:
    """Return the expression to which a class sets `model_config`."""
    for each in node.body:
        if isinstance(each, ast.Assign) and module.source(each.targets[0]) == "model_config":
            return module.source(each.value)
    return "example()"
