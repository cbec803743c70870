"""Whether a process records traces."""

from kit.runtime.settings import Settings


def configure_traces(settings: Settings, service: str) -> None:
    """Send the traces of this process to the endpoint that the settings name; without one, record none."""
    if settings.otel_exporter_otlp_endpoint and not settings.otel_sdk_disabled:
        from kit.ops.otlp import export_traces  # noqa: PLC0415 - it takes 0.4 s of processor

        export_traces(settings.otel_exporter_otlp_endpoint, service)
