"""The streams and what they keep."""

import re

import pytest

from contracts.errors import ErrorKind
from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, STREAMS, Stream


def test_a_stream_has_a_name_and_subjects_of_its_own() -> None:
    assert len({stream.name for stream in STREAMS}) == len(STREAMS)
    subjects = [subject for stream in STREAMS for subject in stream.subjects]
    assert len(set(subjects)) == len(subjects)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_stream_shouts_and_has_an_end(stream: Stream) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", stream.name)
    assert stream.max_age or stream.max_bytes


def test_what_was_promised_is_never_dropped_for_want_of_room() -> None:
    for stream in (PAYMENT_COMMANDS, DEAD_LETTERS):
        assert (stream.discard, stream.max_age) == ("new", None)


def test_a_dead_message_fits_with_its_story() -> None:
    assert all(
        DEAD_LETTERS.max_message_bytes > stream.max_message_bytes for stream in STREAMS if stream is not DEAD_LETTERS
    )


def test_a_kind_of_refusal_is_a_slug() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", kind) for kind in ErrorKind)
