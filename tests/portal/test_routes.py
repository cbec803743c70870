"""The portal over HTTP: what is served, with which headers, and that nothing leads to another host."""

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from httpx import AsyncClient

import portal
from portal import routes
from portal.assets import assets
from tests.conftest import ROOT
from tests.support.html_page import Page

VENDOR = Path(portal.__file__).parent / "vendor"
SERVICES = ["gateway", "payments", "users"]
OWN = ["/asyncapi/messages", "/asyncapi/messages/PaymentCreated", "/asyncapi/streams/USER_EVENTS", "/asyncapi/search"]
PLAIN = ["/docs", "/asyncapi", "/asyncapi/mkstore", *(f"/asyncapi/{service}" for service in SERVICES), *OWN]
PAGES = ["/docs/try", "/asyncapi/users/reference", *PLAIN]
"""What the server draws itself; the headings of the others are drawn by a script."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_is_whole_and_comes_from_this_server_alone(client: AsyncClient, page: str) -> None:
    answer = await client.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    found = Page(answer.text)
    assert found.inline == []
    assert len(found.loaded) >= 2
    assert all(re.match(r"/[^/]|#", address) for address in found.loaded + found.links)
    assert {
        (await client.get(address)).status_code for address in {*found.loaded, *found.links} if address[0] == "/"
    } == {200}
    assert (found.tags["h1"], found.tags["main"]) == (int(page in PLAIN), 1)
    assert all(f'id="{address[1:]}"' in answer.text for address in found.links if address[0] == "#")


@pytest.mark.parametrize("page", PAGES)
async def test_a_first_visit_costs_little(client: AsyncClient, page: str) -> None:
    answer = await client.get(page)
    needed = [path for path in Page(answer.text).loaded if path != "/openapi.json"]
    sizes = [int((await client.get(path)).headers["content-length"]) for path in needed]
    assert sum(sizes) + int(answer.headers["content-length"]) < (60_000 if page in PLAIN else 900_000)


@pytest.mark.parametrize("path", [*PAGES, "/asyncapi/users.json", "/favicon.ico"])
async def test_every_answer_carries_the_strict_policy(client: AsyncClient, path: str) -> None:
    for answer in (await client.get(path), await client.head(path)):
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_document_is_the_committed_file_byte_for_byte(client: AsyncClient, service: str) -> None:
    answer = await client.get(f"/asyncapi/{service}.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == (ROOT / f"asyncapi/{service}.json").read_bytes()


async def test_a_document_that_one_has_is_not_sent_again(client: AsyncClient) -> None:
    etag = (await client.get("/asyncapi/users.json")).headers["etag"]
    for known in (etag, f'"other", W/{etag}', "*"):
        answer = await client.get("/asyncapi/users.json", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert (await client.get("/asyncapi/users.json", headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/asyncapi/nobody",
        "/asyncapi/nobody.json",
        "/asyncapi/users.yaml",
        "/asyncapi/..%2Fpyproject",
        "/asyncapi/users/more",
        "/portal-assets/0/nothing.js",
        "/portal-assets/0/..%2Froutes.py",
    ],
)
async def test_what_is_not_there_is_404(client: AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_the_index_names_the_services_and_what_they_say_of_themselves(client: AsyncClient) -> None:
    html = (await client.get("/asyncapi")).text
    for service in SERVICES:
        info = json.loads((ROOT / f"asyncapi/{service}.json").read_bytes())["info"]
        assert f'<a href="/asyncapi/{service}">{service}</a>' in html
        assert f"version {info['version']}" in html


async def test_what_a_document_says_is_text_and_no_markup(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "FOLDER", tmp_path)
    info = {"title": "t", "version": "<b>1</b>", "description": "</script><script>alert(1)</script>\nMore."}
    (tmp_path / "odd.json").write_text(json.dumps({"info": info, "operations": {"one": {}}}), "utf-8")
    html = (await client.get("/asyncapi")).text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;b&gt;1&lt;/b&gt;" in html
    assert "1 operation ·" in html
    assert Page(html).inline == []


async def test_without_documents_the_pages_stand_and_say_so(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "FOLDER", tmp_path / "absent")
    assert "There are no documents here" in (await client.get("/asyncapi")).text
    assert (await client.get("/docs")).status_code == 200
    assert (await client.get("/asyncapi/users")).status_code == 404


@pytest.mark.parametrize("name", sorted(assets()))
async def test_an_asset_is_the_same_with_and_without_gzip_and_good_for_ever(client: AsyncClient, name: str) -> None:
    asset = assets()[name]
    path = f"/portal-assets/{asset.digest}/{name}"
    packed = await client.get(path, headers={"Accept-Encoding": "gzip"})
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert int(packed.headers["content-length"]) == len(asset.compressed)
    assert packed.content == plain.content == asset.content
    for answer in (packed, plain):
        assert answer.headers["content-type"].partition(";")[0] == asset.media_type
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_asset_under_the_digest_of_another_release_is_served_and_not_kept(client: AsyncClient) -> None:
    answer = await client.get("/portal-assets/0123456789abcdef/portal.css")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")


async def test_the_api_s_own_description_does_not_list_the_portal(client: AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json()["paths"] == {}


def test_what_is_vendored_is_what_the_notice_says_and_has_its_licence() -> None:
    notice = (VENDOR / "NOTICE").read_text("utf-8")
    said = {path: digest for digest, path in re.findall(r"^sha256 +([0-9a-f]{64})  (\S+)$", notice, re.MULTILINE)}
    found = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        for path in VENDOR.rglob("*.gz")
    }
    assert said == found
    assert all((VENDOR / path).with_name("LICENSE").is_file() for path in found)
    assert len(re.findall(r"^package  \S+ \d+\.\d+\.\d+  Apache-2\.0$", notice, re.MULTILINE)) == 2
