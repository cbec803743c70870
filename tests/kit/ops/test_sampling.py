"""Spans under `OTEL_TRACES_SAMPLER`: a batch is recorded if one of its messages is; what is left out costs little."""

from collections.abc import Iterator

import pytest

from kit.runtime import spans
from kit.runtime.tracing import Trace, new_traceparent, trace
from tests.support.recorded_spans import RecordedSpans, context, recorded_spans

SAMPLED = [Trace("first", new_traceparent()), Trace("second", new_traceparent())]
LEFT_OUT = Trace("third", new_traceparent().removesuffix("01") + "00")
NAMES = ["users", "payments", "gateway"]


def names(recorded: RecordedSpans) -> list[str]:
    return [span.name for span in recorded.all()]


def links_of(recorded: RecordedSpans, name: str) -> list[str]:
    (span,) = recorded.named(name)
    return [f"{link.context.trace_id:032x}" for link in span.links]


@pytest.fixture(autouse=True)
def _no_new_trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    before = trace.set(Trace())
    yield
    trace.reset(before)


@pytest.mark.parametrize("given", [Trace("new"), LEFT_OUT])
def test_request_that_is_left_out_has_no_spans_in_any_process(given: Trace) -> None:
    with recorded_spans() as recorded:
        span = spans.begin("GET", "SERVER", given)
        sent = trace.get()
        with spans.nats_span("send", "CLIENT", "users.get"):
            assert trace.get() == sent
        span.end()
    assert not span.is_recorded
    assert not sent.is_sampled
    assert sent.traceparent
    assert not recorded.all()


def test_batch_is_recorded_with_those_of_its_messages_that_are() -> None:
    messages = [LEFT_OUT, *SAMPLED]
    with recorded_spans() as recorded, spans.batch_span("process", "CONSUMER", NAMES, messages) as inner:
        assert inner[0] == LEFT_OUT
        assert [each.trace_id for each in inner] == [each.trace_id for each in messages]
    assert sorted(names(recorded)) == ["process gateway", "process payments", f"process {', '.join(NAMES)}"]
    assert links_of(recorded, f"process {', '.join(NAMES)}") == [each.trace_id for each in SAMPLED]


def test_batch_is_left_out_if_all_of_its_messages_are() -> None:
    messages = [LEFT_OUT] * len(NAMES)
    with recorded_spans() as recorded, spans.batch_span("process", "CONSUMER", NAMES, messages) as inner:
        assert list(inner) == messages
    assert not recorded.all()


def test_shared_read_belongs_to_the_first_request_that_is_recorded() -> None:
    with (
        recorded_spans() as recorded,
        spans.on_behalf_of([LEFT_OUT, *SAMPLED]),
        spans.nats_span("send", "CLIENT", "users.get"),
    ):
        pass
    (span,) = recorded.all()
    assert f"{context(span).trace_id:032x}" == SAMPLED[0].trace_id
    assert links_of(recorded, "send users.get") == [SAMPLED[1].trace_id]


def test_sampler_that_does_not_ask_the_parent_decides_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with recorded_spans() as recorded, spans.batch_span("process", "CONSUMER", NAMES[:2], SAMPLED):
        pass
    assert not recorded.all()
