"""The plan of a new request."""

import ast
from pathlib import Path

from mkstore.new import golden, readme, templates
from mkstore.new.message_names import RequestNames
from mkstore.new.modules import Module
from mkstore.new.plan import Draft, Plan
from mkstore.new.project import refuse_taken, service_of


def plan_request(root: Path, service: str, name: str, reply: str | None = None) -> Plan:
    """Return the plan of a new request to a service, with the reply of this name or an empty one; nothing is written.

    Raises `NameRefused` for a name that is malformed or taken, and for a service without requests on NATS;
    `CannotChange` if a file that the plan changes is not as expected.
    """
    draft = Draft(root)
    owner = service_of(draft, service)
    names = RequestNames.of(name, reply, {service, *owner.nouns, *(f"{noun}s" for noun in owner.nouns)})
    subject = f"{service}.{names.verb}"
    refuse_taken(draft, [each for each in (name, reply) if each is not None], subject)
    values = {
        "name": service,
        "Request": name,
        "request": names.snake,
        "reply": reply or "Done",
        "sentence": names.sentence,
        "subject": subject,
        "id": golden.ID,
    }
    _add_contract(draft, service, values)
    handlers = Module(draft, owner.path("requests"))
    handlers.add_import(f"contracts.{service}", name)
    handlers.add_import("contracts.base" if reply is None else f"contracts.{service}", values["reply"])
    handlers.append_handler("router.reply", templates.render("request/handler.py", values))
    readme.add_subject(draft, service, "Replies to", f"`{subject}`")
    body = {"id": golden.ID}
    golden.add_request(draft, subject, body, {} if reply is None else body)
    draft.create(f"tests/{service}/test_{names.snake}.py", templates.render("request/test_request.py", values))
    return draft.plan()


def _add_contract(draft: Draft, service: str, values: dict[str, str]) -> None:
    """Add the class, and that of the reply, after the last request of the module."""
    module = Module(draft, f"contracts/{service}.py")
    requests = [node for node in module.classes() if any("Request[" in ast.unparse(base) for base in node.bases)]
    module.insert_after((requests or list(module.classes()))[-1], templates.render("request/contract.py", values))
    imported = {"Request", "example", "Done" if values["reply"] == "Done" else "Message"}
    for name in sorted(imported):
        module.add_import("contracts.base", name)
    module.add_import("uuid", "UUID")
    module.add_import("typing", "ClassVar")
