"""Invalid payments: amounts, other fields, and whole bodies."""

import uuid
from typing import Any

AMOUNTS = (
    *(
        "",
        "0",
        "-1",
        "01",
        "0x1",
        "1.0",
        "1.5",
        "1e3",
        "1E400",
        "NaN",
        "Infinity",
        "-Infinity",
        "null",
        "true",
        "false",
    ),
    *("[1]", "{}", '"1"', '"abc"', str(2**53), str(2**63), "9" * 400, "9" * 5000),
)
"""JSON texts that are not a valid amount."""


def each(field: str, *values: object) -> list[dict[str, Any]]:
    """Return one object per value, with the value in `field`."""
    return [{field: value} for value in values]


OTHER_FIELDS: tuple[dict[str, Any], ...] = (
    *each("currency", "XXX", "XTS", "usd", "US", "USDX", "", "\0\0\0", 840, None, ["USD"], True),
    *each("metadata", [], "x", None, 1, True, {"a": 1}, {"a": None}, {"a": ["b"]}, {"a": {"b": "c"}}),
    {"metadata": {str(number): "" for number in range(51)}},
    *each("metadata", {"k" * 41: ""}, {"": ""}, {"a": "v" * 501}, {"a\0": ""}, {"a": "\0"}, {"a[b]": ""}),
    *each("userId", "x", "", 1, None, "\0", [], "{}", "0" * 33),
    {"userId": str(uuid.uuid4())},
    {"status": "created"},
    {"id": str(uuid.uuid4())},
    {"user_id": str(uuid.uuid4())},
    {"a\0": 1},
    {"x" * 100_000: 1},
)
BODIES: dict[str, bytes] = {
    "a surrogate in a value": rb'{"amount": 1, "metadata": {"a": "\ud800"}}',
    "a surrogate in a key": rb'{"amount": 1, "metadata": {"\udfff": "a"}}',
    "a surrogate in a field's name": rb'{"amount": 1, "\ud800": "a"}',
    "a surrogate as currency": rb'{"amount": 1, "currency": "\ud800"}',
    "a surrogate as user": rb'{"amount": 1, "userId": "\ud800"}',
    "a surrogate in UTF-8": b'{"amount": 1, "metadata": {"a": "\xed\xa0\x80"}}',
    "not UTF-8": b'{"amount": 1, "metadata": {"a": "\xff"}}',
    "UTF-16": '{"amount": 1.5}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"amount": "1"}',
    "nothing": b"",
    "white space": b"  ",
    "half a document": b'{"amount": ',
    "two documents": b'{"amount": 1}{"amount": 1}',
    "a trailing comma": b'{"amount": 1,}',
    "single quotes": b"{'amount': 1}",
    "an amount with a leading zero": b'{"amount": 01}',
    "a list": b"[1]",
    "a number": b"1",
    "null": b"null",
    "a string": b'"x"',
    "NUL": b"\0",
    "deep lists": b"[" * 10_000 + b"]" * 10_000,
    "deep lists without an end": b"[" * 10_000,
    "deep objects": b'{"amount":' * 10_000 + b"1" + b"}" * 10_000,
    "deep metadata": b'{"amount": 1, "metadata": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    "a field twice": b'{"amount": 1, "amount": 2}',
    "a key twice": b'{"amount": 1, "metadata": {"a": "1", "a": "2"}}',
    "a long number": b'{"amount": ' + b"9" * 900_000 + b"}",
}
