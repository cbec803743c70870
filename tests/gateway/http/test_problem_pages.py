"""`type` of each problem leads to a page that says what to do."""

import json
import re

import pytest

from apps.gateway.http.problem_advice import ADVICE
from apps.gateway.http.problems import own_types
from contracts.errors import ErrorKind
from portal.problem_types import ProblemType
from tests.architecture.test_refusals import WITH_SLUG
from tests.support.store import Store

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("slug", sorted({each.slug for each in WITH_SLUG} | {each.slug for each in own_types()}))
async def test_every_problem_has_a_page(store: Store, slug: str) -> None:
    page = await store.http.get(f"/problems/{slug}", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert slug in page.text
    answer = await store.http.get(f"/problems/{slug}", headers={"Accept": "application/json"})
    shown = answer.json()
    assert shown["code"] == slug
    assert shown["meaning"]
    assert shown["whatToDo"]
    assert shown["retry"]
    assert all(text.endswith(".") for text in ADVICE[slug])
    assert (shown["whatToDo"], shown["retry"], shown["cause"]) == ADVICE[slug]
    assert "Usual cause" in page.text


async def test_every_problem_that_a_document_names_has_its_own_advice(store: Store) -> None:
    page = (await store.http.get("/problems")).text
    assert set(re.findall(r'href="/problems/([a-z-]+)"', page)) == set(ADVICE)


async def test_type_of_a_problem_is_the_address_of_its_page(store: Store) -> None:
    refused = (await store.http.get("/users/me")).json()
    shown = (await store.http.get(refused["type"], headers={"Accept": "application/json"})).json()
    assert {name: shown[name] for name in ("type", "title", "status", "code")} == {
        name: refused[name] for name in ("type", "title", "status", "code")
    }


async def test_list_leads_to_every_page(store: Store) -> None:
    page = (await store.http.get("/problems")).text
    assert all(f'href="/problems/{each.slug}"' in page for each in own_types())


async def test_unknown_problem_is_not_found(store: Store) -> None:
    assert (await store.http.get("/problems/none")).status_code == 404


@pytest.mark.parametrize("kind", ErrorKind)
async def test_each_kind_has_advice(kind: ErrorKind) -> None:
    shown = json.loads(ProblemType("x-y", kind, 400, "Meaning.").to_json())
    assert (shown["title"], shown["kind"]) == ("X y", kind.value)
    assert shown["whatToDo"].endswith(".")
    assert shown["retry"].endswith(".")
