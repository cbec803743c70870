"""Whether a process records traces."""

from collections.abc import Awaitable, Callable

from kit.runtime.settings import Settings


def configure_traces(settings: Settings, service: str) -> Callable[[], Awaitable[None]]:
    """Send the traces of this process to the endpoint that the settings name; without one, record none.

    Return what the process calls at its end, to send the last spans.
    """
    if settings.otel_exporter_otlp_endpoint and not settings.otel_sdk_disabled:
        from kit.ops.otlp import TraceExport  # noqa: PLC0415 - it takes 0.4 s of processor

        return TraceExport(settings.otel_exporter_otlp_endpoint, service).stop
    return _nothing


async def _nothing() -> None:
    pass
