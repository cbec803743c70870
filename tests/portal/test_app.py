"""The portal over HTTP: addresses, headers and caching, without any other host."""

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient

import portal
from portal.assets import assets
from tests.conftest import ROOT
from tests.support.html_page import Page
from tests.support.portal_host import host

VENDOR = Path(portal.__file__).parent / "vendor"
SERVICES = ["gateway", "payments", "users"]
OWN = ["/asyncapi/messages", "/asyncapi/messages/PaymentCreated", "/asyncapi/streams/USER_EVENTS", "/asyncapi/search"]
PLAIN = ["/docs", "/asyncapi", "/asyncapi/mkstore", *(f"/asyncapi/{service}" for service in SERVICES), *OWN]
PAGES = ["/docs/try", "/asyncapi/users/reference", *PLAIN]
"""All pages; those that are not in `PLAIN` get their headings from a script."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_loads_and_links_only_from_this_server(client: AsyncClient, page: str) -> None:
    response = await client.get(page)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    parsed = Page(response.text)
    assert parsed.inline == []
    assert len(parsed.loaded) >= 2
    assert all(re.match(r"/[^/]|#", address) for address in parsed.loaded + parsed.links)
    assert {
        (await client.get(address)).status_code for address in {*parsed.loaded, *parsed.links} if address[0] == "/"
    } == {200}
    assert (parsed.tags["h1"], parsed.tags["main"]) == (int(page in PLAIN), 1)
    assert all(f'id="{address[1:]}"' in response.text for address in parsed.links if address[0] == "#")


@pytest.mark.parametrize("page", PAGES)
async def test_a_first_visit_transfers_little(client: AsyncClient, page: str) -> None:
    response = await client.get(page)
    needed = [path for path in Page(response.text).loaded if path != "/openapi.json"]
    sizes = [int((await client.get(path)).headers["content-length"]) for path in needed]
    assert sum(sizes) + int(response.headers["content-length"]) < (60_000 if page in PLAIN else 900_000)


@pytest.mark.parametrize("path", [*PAGES, "/asyncapi/users.json", "/favicon.ico"])
async def test_every_response_has_the_strict_policy(client: AsyncClient, path: str) -> None:
    for response in (await client.get(path), await client.head(path)):
        assert response.status_code == 200
        assert response.headers["content-security-policy"] == POLICY
        assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("service", SERVICES)
async def test_a_document_is_the_committed_file_byte_for_byte(client: AsyncClient, service: str, form: str) -> None:
    response = await client.get(f"/asyncapi/{service}.{form}")
    assert response.headers["content-type"] == f"application/{form}"
    assert response.content == (ROOT / f"asyncapi/{service}.{form}").read_bytes()


@pytest.mark.parametrize("path", ["/asyncapi/users.json", "/asyncapi/users.yaml", "/openapi.json", "/openapi.yaml"])
async def test_a_cached_document_is_not_sent_again(client: AsyncClient, path: str) -> None:
    etag = (await client.get(path)).headers["etag"]
    for condition in (etag, f'"other", W/{etag}', "*"):
        response = await client.get(path, headers={"If-None-Match": condition})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == etag
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/asyncapi/nobody",
        "/asyncapi/nobody.json",
        "/asyncapi/announced.yaml",
        "/asyncapi/nobody.yaml",
        "/asyncapi/..%2Fpyproject",
        "/asyncapi/users/more",
        "/portal-assets/0/nothing.js",
        "/portal-assets/0/..%2Froutes.py",
    ],
)
async def test_an_unknown_address_is_404(client: AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_the_index_lists_services_with_their_versions(client: AsyncClient) -> None:
    html = (await client.get("/asyncapi")).text
    for service in SERVICES:
        info = json.loads((ROOT / f"asyncapi/{service}.json").read_bytes())["info"]
        assert f'<a href="/asyncapi/{service}">{service}</a>' in html
        assert f"version {info['version']}" in html


def client_of(documents: Path) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(host(documents)), base_url="http://portal.test")


async def test_markup_in_a_document_is_escaped(tmp_path: Path) -> None:
    info = {"title": "t", "version": "<b>1</b>", "description": "</script><script>alert(1)</script>\nMore."}
    (tmp_path / "odd.json").write_text(json.dumps({"info": info, "operations": {"one": {}}}), "utf-8")
    async with client_of(tmp_path) as client:
        html = (await client.get("/asyncapi")).text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;b&gt;1&lt;/b&gt;" in html
    assert "1 operation ·" in html
    assert Page(html).inline == []


async def test_pages_work_without_documents(tmp_path: Path) -> None:
    async with client_of(tmp_path / "missing") as client:
        assert "There are no documents." in (await client.get("/asyncapi")).text
        assert (await client.get("/docs")).status_code == 200
        assert (await client.get("/asyncapi/users")).status_code == 404


async def test_only_reading_is_allowed_and_nothing_redirects(client: AsyncClient) -> None:
    for path in ("/docs", "/asyncapi", "/asyncapi/users", "/llms.txt", "/favicon.ico"):
        response = await client.post(path)
        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
        assert (await client.get(f"{path}/")).status_code == 404


@pytest.mark.parametrize("name", sorted(assets()))
async def test_an_asset_is_immutable_and_equal_with_and_without_gzip(client: AsyncClient, name: str) -> None:
    asset = assets()[name]
    path = f"/portal-assets/{asset.digest}/{name}"
    packed = await client.get(path, headers={"Accept-Encoding": "gzip"})
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert int(packed.headers["content-length"]) == len(asset.compressed)
    assert packed.content == plain.content == asset.content
    for response in (packed, plain):
        assert response.headers["content-type"].partition(";")[0] == asset.media_type
        assert response.headers["vary"] == "Accept-Encoding"
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_an_asset_of_another_release_is_served_but_not_cached(client: AsyncClient) -> None:
    response = await client.get("/portal-assets/0123456789abcdef/portal.css")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")


async def test_the_openapi_document_does_not_list_the_portal(client: AsyncClient) -> None:
    assert list((await client.get("/openapi.json")).json()["paths"]) == ["/greetings/{name}"]


def test_vendored_files_match_the_notice_and_have_licenses() -> None:
    notice = (VENDOR / "NOTICE").read_text("utf-8")
    listed = {path: digest for digest, path in re.findall(r"^sha256 +([0-9a-f]{64})  (\S+)$", notice, re.MULTILINE)}
    digests = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        for path in VENDOR.rglob("*.gz")
    }
    assert listed == digests
    assert all((VENDOR / path).with_name("LICENSE").is_file() for path in digests)
    assert len(re.findall(r"^package  \S+ \d+\.\d+\.\d+  Apache-2\.0$", notice, re.MULTILINE)) == 2
