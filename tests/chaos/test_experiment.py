"""When a round of `mkstore prove` ends."""

import asyncio
import time
from math import inf

from mkstore.chaos.experiment import load_continued
from mkstore.chaos.ledger import Ledger

REFUSED = ["pay: 401 invalid-token"] * 100


async def test_round_goes_on_until_its_payments_are_accepted_and_its_time_is_over() -> None:
    ledger = Ledger(unexpected=REFUSED[1:])
    round_end = asyncio.create_task(load_continued(ledger, payments=1, until=-inf))
    await asyncio.sleep(0.1)
    assert not round_end.done()
    ledger.accepted = 1
    await asyncio.wait_for(round_end, 10)
    until = time.monotonic() + 0.1
    await asyncio.wait_for(load_continued(ledger, payments=1, until=until), 10)
    assert time.monotonic() >= until


async def test_round_whose_payments_are_refused_ends() -> None:
    await asyncio.wait_for(load_continued(Ledger(unexpected=REFUSED), payments=1, until=inf), 10)
