"""Generated HTTP requests that are plain, or differ from a plain one in a few places, for the fast path."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.support.two_paths import ADA, ADAS_PAYMENT, BOB, BOBS_PAYMENT, NOBODY, HttpRequest

Header = tuple[bytes, bytes]
PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

_users = st.sampled_from(["me", str(ADA), str(BOB), str(NOBODY), str(ADA).upper()])
_payments = st.sampled_from([str(ADAS_PAYMENT), str(BOBS_PAYMENT), str(NOBODY)])
_paths = st.one_of(
    _users.map(lambda user: f"/users/{user}"),
    _payments.map(lambda payment: f"/payments/{payment}"),
    st.sampled_from(["/payments", "/users"]),
)
ODD_PATHS = [
    *("", "/", "//", "/users/", "/users/me/", "//users/me", "/users//me", "/payments/", "/payments/me"),
    *(
        f"/users/{ADA.hex}",
        f"/users/{{{ADA}}}",
        f"/users/{ADA.urn}",
        f"/users/{ADA}/",
        f"/users/{ADA}/password",
    ),
    *(
        "/users/me/password",
        f"/Users/{ADA}",
        "/users/ME",
        f"/payments/{ADAS_PAYMENT} ",
        "/health/live",
        "/nothing",
    ),
    *(
        "/.well-known/jwks.json",
        "/users/%6de",
        "/users/me\n",
        f"/users/{ADA}\n",
        "/payments\n",
        "/users/\u0661",
    ),
]
_odd_paths = st.one_of(
    st.sampled_from(ODD_PATHS),
    st.text(max_size=10).map(lambda text: f"/users/{text}"),
)
PLAIN_HEADERS = [
    *((b"user-agent", b"curl/8.5.0"), (b"accept", b"*/*"), (b"accept-encoding", b"gzip, br")),
    *((b"accept-language", b"de"), (b"connection", b"keep-alive"), (b"cookie", b"a=b")),
    *((b"sec-fetch-mode", b"cors"), (b"x-request-id", b"given-1"), (b"traceparent", PARENT)),
    *((b"cache-control", b"no-cache"), (b"x-forwarded-for", b"1.2.3.4"), (b"priority", b"u=1, i")),
]
_plain_headers = st.lists(
    st.sampled_from(PLAIN_HEADERS),
    unique_by=lambda header: header[0],
    max_size=5,
)
ODD_HEADERS = [
    *((b"if-none-match", b'"3"'), (b"if-none-match", b"*"), (b"if-none-match", b'"1"')),
    *((b"if-match", b'"3"'), (b"prefer", b"wait=0"), (b"prefer", b"respond-async")),
    *((b"range", b"bytes=0-3"), (b"expect", b"100-continue"), (b"x-request-id", b"")),
    *((b"x-request-id", b"a b"), (b"x-request-id", b"given-2"), (b"traceparent", b"x")),
    *((b"transfer-encoding", b"chunked"), (b"content-encoding", b"gzip"), (b"upgrade", b"h2c")),
    *((b"content-length", b"5"), (b"content-type", b"text/plain"), (b"accept", b"text/html")),
    *((b"x-http-method-override", b"DELETE"), (b"idempotency-key", b"another")),
    *((b"authorization", b"Bearer x"), (b"cookie", b"\xff")),
]
_odd_headers = st.one_of(
    st.sampled_from(ODD_HEADERS),
    st.tuples(st.sampled_from([b"x-a", b"accept", b"cookie", b"user-agent"]), st.binary(max_size=8)),
)
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]
_methods = st.sampled_from(METHODS)
_names = st.sampled_from(["ada", "ada", "ada", "bob", "root", "root", "unknown"])
_bad_names = st.sampled_from(["revoked", "expired", "stranger", "forged", "garbage"])
SCHEMES = [b"Bearer ", b"bearer ", b"Bearer  ", b"Basic ", b"Bearer", b"Bearer\t", b""]
_schemes = st.sampled_from(SCHEMES)
QUERIES = [b"limit=1", b"x", b"&", b"userId=1"]
_queries = st.sampled_from(QUERIES)
_addresses = st.sampled_from(["10.0.0.2", "::1"])
MEDIA_TYPES = [b"", b"application/json; charset=utf-8", b"Application/JSON", b"text/plain", b"application/a+json"]
_media_types = st.sampled_from(MEDIA_TYPES)
_keys = st.sampled_from([None, None, b"key 1", b"key 1", b"key 2"])
ODD_KEYS = [b"", b"k" * 255, b"k" * 256, b"\xe4", b"a\tb", b" ", b"~!", b"a\n"]
_odd_keys = st.sampled_from(ODD_KEYS)
_amounts = st.one_of(st.integers(1, 2**53 - 1), st.sampled_from([0, -1, 2**53, 1.0, 1.5, True, None, "1", 10**400]))
_currencies = st.sampled_from(["USD", "USD", "JPY", "usd", "XXX", "", None, 1])
_text = st.text(max_size=12)
_metadata: st.SearchStrategy[Any] = st.one_of(
    st.dictionaries(st.text(min_size=1, max_size=8), _text, max_size=4),
    st.sampled_from(
        [{"": "x"}, {"a": 1}, {"k" * 41: ""}, {"a": "x" * 501}, [], None, {"a\0": ""}, {"a": "\0"}, {"a[": ""}]
    ),
    st.just({f"k{number}": "v" for number in range(51)}),
)
_payers = st.sampled_from([str(ADA), str(BOB), str(NOBODY), str(ADA).upper(), ADA.hex, "x", None, 5])
_valid_bodies = st.fixed_dictionaries(
    {"amount": st.integers(1, 2**53 - 1)},
    optional={
        "currency": st.sampled_from(["USD", "JPY", "EUR"]),
        "metadata": st.dictionaries(st.text('ab\u2028ä"\\', min_size=1, max_size=4), st.text("ab\u2028ä", max_size=9)),
        "userId": st.sampled_from([str(ADA), str(BOB)]),
    },
)
_bodies = st.fixed_dictionaries(
    {"amount": _amounts},
    optional={"currency": _currencies, "metadata": _metadata, "userId": _payers, "user_id": _payers, "extra": _text},
)
RAW_BODIES = [
    *(b"", b"null", b"[]", b"1", b'"x"', b"{}", b"{", b'{"amount": 1}x', b'{"amount": NaN}'),
    *(b'{"amount": 1e0}', b'{"amount": 1, "amount": 2}', b'{"amount": Infinity}', b'{"amount": 01}'),
    *(b'{"amount": 1, "metadata": {"a": "b", "a": "c"}}', b'\xef\xbb\xbf{"amount": 1}', b"\xff"),
    *('{"amount": 1}'.encode("utf-16"), b'{"amount": 1, "metadata": {"a": "\\ud800"}}'),
    *(b"[" * 5000, b'{"metadata": ' * 900, b'{"amount": 1}' + b" " * 17000, b"{'amount': 1}"),
    *(b'{"amount": 1, "metadata": {"a": "\xff"}}', b'{"amount": ' + b"9" * 5000 + b"}"),
    b' {"amount": 1}\r\n',
]
_raw_bodies = st.one_of(
    st.sampled_from(RAW_BODIES),
    st.binary(max_size=20),
)


def single_oddities(plain: HttpRequest, tokens: dict[str, str]) -> Iterator[HttpRequest]:
    """Yield requests that differ from a plain one in one place."""
    headers = plain.headers
    yield from (replace(plain, path=path) for path in ODD_PATHS)
    yield from (replace(plain, method=method) for method in METHODS)
    yield from (replace(plain, query=query) for query in QUERIES)
    yield from (replace(plain, headers=(*headers, header)) for header in (*PLAIN_HEADERS, *ODD_HEADERS))
    tokens_and_schemes = [(scheme, "ada") for scheme in SCHEMES] + [(b"Bearer ", name) for name in tokens]
    changes = [(b"authorization", scheme + tokens[name].encode()) for scheme, name in tokens_and_schemes]
    changes += [(b"content-type", media_type) for media_type in MEDIA_TYPES]
    changes += [(b"idempotency-key", key) for key in ODD_KEYS]
    for name, value in changes:
        others = tuple(header for header in headers if header[0] != name)
        yield replace(plain, headers=(*others, (name, value)))  # changed
        yield replace(plain, headers=(*headers, (name, value)))  # twice
        yield replace(plain, headers=((name, value), *headers))
    if plain.method == "POST":
        for body in (*RAW_BODIES, b'{"amount": 2}'):
            others = tuple(header for header in headers if header[0] != b"content-length")
            yield replace(plain, parts=(body,), headers=(*others, (b"content-length", b"%d" % len(body))))
            yield replace(plain, parts=(body,), headers=others)


_ODDITIES = (
    *("path", "method", "token", "scheme", "no token", "header", "repeated header", "query", "address"),
    *("body", "raw body", "media type", "no length", "key", "parts"),
)
_WITHOUT_BODY = _ODDITIES[:9]


@st.composite
def requests(draw: st.DrawFn, tokens: dict[str, str]) -> HttpRequest:
    """Return a request to the gateway, every second one with one or two oddities; `tokens` by name."""
    path = draw(_paths)
    method = "POST" if path == "/payments" else "GET"
    possible = _ODDITIES if method == "POST" else _WITHOUT_BODY
    odd = draw(st.one_of(st.just([]), st.lists(st.sampled_from(possible), min_size=1, max_size=2)))
    if "path" in odd:
        path = draw(_odd_paths)
    name = draw(_bad_names if "token" in odd else _names)
    scheme = draw(_schemes) if "scheme" in odd else b"Bearer "
    headers: list[Header] = [(b"host", b"store")]
    if "no token" not in odd:
        headers.append((b"authorization", scheme + tokens[name].encode()))
    parts = _body(draw, odd, headers) if method == "POST" else (b"",)
    if "repeated header" in odd:
        repeated, value = draw(st.sampled_from(headers))
        other = draw(st.sampled_from([value, b"", b"x", b"Bearer " + tokens["bob"].encode(), b"key 2", b"5"]))
        headers.insert(draw(st.sampled_from([0, len(headers)])), (repeated, other))
    headers += draw(_plain_headers)
    if "header" in odd:
        headers.append(draw(_odd_headers))
    return HttpRequest(
        method=draw(_methods) if "method" in odd else method,
        path=path,
        query=draw(_queries) if "query" in odd else b"",
        headers=tuple(draw(st.permutations(headers)) if draw(st.booleans()) else headers),
        parts=parts,
        client=draw(_addresses) if "address" in odd else "10.0.0.1",
    )


def _body(draw: st.DrawFn, odd: list[str], headers: list[Header]) -> tuple[bytes, ...]:
    """Add the headers of a body, and return the body in parts."""
    body: bytes = draw(_raw_bodies) if "raw body" in odd else _json(draw(_bodies if "body" in odd else _valid_bodies))
    media_type = draw(_media_types) if "media type" in odd else b"application/json"
    if media_type:
        headers.append((b"content-type", media_type))
    if "no length" not in odd:
        headers.append((b"content-length", b"%d" % len(body)))
    key = draw(_odd_keys if "key" in odd else _keys)
    if key is not None:
        headers.append((b"idempotency-key", key))
    middle = len(body) // 2
    return (body[:middle], body[middle:]) if "parts" in odd else (body,)


def _json(body: object) -> bytes:
    return json.dumps(body).encode()
