"""Names, subjects and limits of the streams."""

import re

import pytest

from contracts.consumers import durables
from contracts.errors import ErrorKind
from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, STREAMS, Stream


def test_names_and_subjects_are_unique() -> None:
    assert len({stream.name for stream in STREAMS}) == len(STREAMS)
    subjects = [subject for stream in STREAMS for subject in stream.subjects]
    assert len(set(subjects)) == len(subjects)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_stream_has_an_upper_case_name_and_a_limit(stream: Stream) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", stream.name)
    assert stream.max_age or stream.max_bytes


def test_full_stream_of_commands_or_dead_letters_refuses_new_messages() -> None:
    for stream in (PAYMENT_COMMANDS, DEAD_LETTERS):
        assert (stream.discard, stream.max_age) == ("new", None)


def test_largest_message_fits_into_the_dead_letters() -> None:
    assert all(
        DEAD_LETTERS.max_message_bytes > stream.max_message_bytes for stream in STREAMS if stream is not DEAD_LETTERS
    )


def test_kind_of_refusal_is_a_slug() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", kind) for kind in ErrorKind)


def test_durable_consumers_have_a_stream_and_a_name_of_their_own() -> None:
    assert len({each.name for each in durables()}) == len(durables()) > 0
    assert all(each.stream in STREAMS for each in durables())
