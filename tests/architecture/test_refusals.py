"""Rules for every class of refusal."""

import importlib
import inspect
import re

import pytest

from contracts.errors import ErrorKind
from kit.errors import Refusal
from tests.architecture.sources import modules

ROOMS = [".".join(path.with_suffix("").parts) for path in modules("apps") if path.name == "errors.py"]
REFUSALS = [
    found
    for room in ROOMS
    for _, found in inspect.getmembers(importlib.import_module(room), inspect.isclass)
    if found.__module__ == room and issubclass(found, Refusal)
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_slug_is_the_kebab_case_class_name(refusal: type[Refusal]) -> None:
    if "slug" in vars(refusal):  # a subclass without one inherits it
        assert refusal.slug == re.sub(r"(?<!^)(?=[A-Z])", "-", refusal.__name__).lower()
    assert refusal.kind in ErrorKind
    assert refusal.__doc__


def test_slugs_are_unique() -> None:
    slugs = [refusal.slug for refusal in REFUSALS if "slug" in vars(refusal)]
    assert len(slugs) == len(set(slugs))
