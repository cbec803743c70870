"""The names of a new service."""

import pytest

from mkstore.new.names import NameRefused, Names


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("invoices", "invoice"),
        ("categories", "category"),
        ("addresses", "address"),
        ("boxes", "box"),
        ("batches", "batch"),
        ("wishes", "wish"),
        ("orders", "order"),
    ],
)
def test_singular_is_derived_from_the_plural(plural: str, singular: str) -> None:
    assert Names.of(plural) == Names(plural, singular)


def test_given_singular_wins() -> None:
    assert Names.of("people", "person") == Names("people", "person")


@pytest.mark.parametrize("name", ["", "Invoices", "gift-cards", "gift_cards", "2fas", "../etc", "as", "x" * 25])
def test_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(NameRefused, match="lowercase letters"):
        Names.of(name)


@pytest.mark.parametrize("name", ["gateway", "events", "values", "lists", "classes", "transactions"])
def test_name_with_another_meaning_is_refused(name: str) -> None:
    with pytest.raises(NameRefused, match="has another meaning in"):
        Names.of(name)


@pytest.mark.parametrize(("name", "singular"), [("stock", None), ("status", None), ("news", "news"), ("orders", "Or")])
def test_unclear_singular_is_asked_for(name: str, singular: str | None) -> None:
    with pytest.raises(NameRefused, match="--singular"):
        Names.of(name, singular)


def test_article_fits_the_singular() -> None:
    assert [Names.of(name).values()["a"] for name in ("invoices", "orders", "refunds")] == ["an", "an", "a"]
