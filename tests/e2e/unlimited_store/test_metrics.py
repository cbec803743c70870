"""The metrics that the documentation names are those of a running store, and no others."""

import re

import httpx
from prometheus_client.parser import text_string_to_metric_families

from mkstore.chaos.store import SERVICE_NAMES
from tests.conftest import ROOT
from tests.support.running_store import Running

_ROW = re.compile(r"^\| (`mkstore_[^|]+) \|", re.MULTILINE)


async def test_every_metric_is_documented(unlimited_store: Running) -> None:
    await unlimited_store.wait_until_recovered()
    rows = _ROW.findall((ROOT / "docs/operating.md").read_text("utf-8"))
    documented = {name for row in rows for name in re.findall(r"`(mkstore_\w+)`", row)}
    served = [await _served(unlimited_store.record[name]["url"]) for name in SERVICE_NAMES]
    assert set().union(*served) == documented


async def _served(url: str) -> set[str]:
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"{url}/metrics")).text
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(text)
    }
    return {name for name in names if name.startswith("mkstore_")}
