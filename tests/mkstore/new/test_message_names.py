"""The names of a new event and of a new request."""

import pytest

from mkstore.new.message_names import EventNames, RequestNames
from mkstore.new.names import NameRefused

NOUNS = {"payments", "payment"}


def test_event_is_a_noun_and_a_past_participle() -> None:
    names = EventNames.of("PaymentFlagged")
    assert (names.noun, names.subject, names.snake) == ("payment", "payment.flagged", "payment_flagged")


@pytest.mark.parametrize(
    "name", ["", "paymentFlagged", "Flagged", "PaymentFlag", "FlagPayment", "PaymentWasFlagged", "Payment_Flagged"]
)
def test_malformed_name_of_an_event_is_refused(name: str) -> None:
    with pytest.raises(NameRefused, match=r"past participle that ends in ed, such as PaymentFlagged\.$"):
        EventNames.of(name)


def test_overlong_name_of_an_event_is_refused() -> None:
    with pytest.raises(NameRefused, match="is not the name of an event"):
        EventNames.of(f"Payment{'X' + 'x' * 40}ed")


@pytest.mark.parametrize(
    ("name", "verb", "snake"),
    [
        ("CountPayments", "count", "count_payments"),
        ("RejectPayment", "reject", "reject_payment"),
        ("ListOverduePayments", "list_overdue", "list_overdue_payments"),
        ("ChangePassword", "change_password", "change_password"),
    ],
)
def test_subject_of_a_request_leaves_out_the_noun_of_its_service(name: str, verb: str, snake: str) -> None:
    names = RequestNames.of(name, None, NOUNS)
    assert (names.verb, names.snake) == (verb, snake)


def test_request_becomes_a_sentence() -> None:
    assert RequestNames.of("ListOverduePayments", None, NOUNS).sentence == "List overdue payments."


@pytest.mark.parametrize("name", ["", "countPayments", "Count", "Count_Payments", "COUNTPayments"])
def test_malformed_name_of_a_request_is_refused(name: str) -> None:
    with pytest.raises(NameRefused, match=r"is not the name of a request: .* such as CountUsers\.$"):
        RequestNames.of(name, None, NOUNS)


@pytest.mark.parametrize("reply", ["", "Count", "paymentCount"])
def test_malformed_name_of_a_reply_is_refused(reply: str) -> None:
    with pytest.raises(NameRefused, match=r"is not the name of a reply: .* such as UserCount\.$"):
        RequestNames.of("CountPayments", reply, NOUNS)


def test_request_and_reply_need_different_names() -> None:
    with pytest.raises(NameRefused, match="choose another name for the reply"):
        RequestNames.of("CountPayments", "CountPayments", NOUNS)
