"""The settings with which the benchmark starts the store exist."""

from mkstore.bench.contenders.stores import ACCESS_LINE, LIMITS_OFF, LIMITS_ON
from tests.conftest import ROOT


def test_every_setting_of_the_benchmark_exists() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    known = {line.lstrip("# ").partition("=")[0] for line in example.splitlines()}
    assert {*LIMITS_ON, *LIMITS_OFF, *ACCESS_LINE} <= known


def test_limits_on_raises_every_ceiling() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    ceilings = {
        name for line in example.splitlines() if (name := line.lstrip("# ").partition("=")[0]).startswith("RATE_LIMIT_")
    }
    assert ceilings - {"RATE_LIMIT_STORAGE"} == set(LIMITS_ON)
