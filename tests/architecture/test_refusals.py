"""Rules that every refusal follows."""

import importlib
import inspect
import re

import pytest

from apps.gateway.errors import GatewayRefusal
from apps.gateway.http.problems import PHRASES, STATUS
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


WITH_SLUG = [refusal for refusal in REFUSALS if "slug" in vars(refusal)]
"""Without the subclasses that inherit a slug, and those whose instances set one."""


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusal_has_a_kind_and_a_docstring(refusal: type[Refusal]) -> None:
    assert refusal.__doc__
    if refusal is not GatewayRefusal:  # a base class
        assert refusal.kind in ErrorKind


@pytest.mark.parametrize("refusal", WITH_SLUG)
def test_slug_is_the_class_name_in_kebab_case(refusal: type[Refusal]) -> None:
    assert refusal.slug == re.sub(r"(?<!^)(?=[A-Z])", "-", refusal.__name__).lower()


def test_slug_is_unique_within_a_service() -> None:
    names = [(refusal.__module__, refusal.slug) for refusal in WITH_SLUG]
    assert len(names) == len(set(names))


def test_slug_has_one_kind_in_all_services() -> None:
    kinds = {(refusal.slug, refusal.kind) for refusal in WITH_SLUG}
    assert len(kinds) == len({slug for slug, _ in kinds})


def test_every_kind_has_a_status_with_a_phrase() -> None:
    assert set(STATUS) == set(ErrorKind)
    assert set(STATUS.values()) <= set(PHRASES)


@pytest.mark.parametrize("service", ["users"])
def test_specification_lists_every_refusal_of_its_service(service: str) -> None:
    """The payments service has none."""
    listed = importlib.import_module(f"apps.{service}.main").REFUSALS
    assert set(listed) == {refusal for refusal in WITH_SLUG if refusal.__module__ == f"apps.{service}.errors"}
