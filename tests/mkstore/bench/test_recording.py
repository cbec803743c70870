"""The rows after a turn are compared with the accepted payments."""

import pytest

from mkstore.bench.scenarios.recording import Drained, faults


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (99, ["1 of 100 accepted payments are not recorded"]),
        (100, []),
        (132, []),  # accepted at the end of the load, when nobody read the response
        (133, ["133 payments are recorded, 100 were accepted"]),
    ],
)
def test_missing_and_surplus_rows_are_faults(rows: int, expected: list[str]) -> None:
    assert faults(Drained(rows, 0.0, 0.0), accepted=100, in_flight=32) == expected
