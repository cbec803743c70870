"""The dashboard for Grafana, which `uv run python -m mkstore.dashboard` writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

FILE = Path(__file__).parent.parent / "deploy/observability/dashboard.json"
_SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")


class Graph(NamedTuple):
    """One graph: its title, unit and query, and the text of each line."""

    title: str
    unit: str
    query: str
    line: str


def _rate(metric: str, labels: str, condition: str = "") -> str:
    return f"sum by ({labels}) (rate({metric}{condition}[$__rate_interval]))"


def _slowest(metric: str, labels: str, condition: str = "") -> str:
    return f"histogram_quantile(0.99, {_rate(f'{metric}_bucket', f'le, {labels}', condition)})"


HTTP, REPLIES, CONSUMED = (
    "mkstore_http_request_duration_seconds",
    "mkstore_nats_reply_duration_seconds",
    "mkstore_consume_duration_seconds",
)
ROWS: Sequence[tuple[str, Sequence[Graph]]] = (
    (
        "HTTP",
        (
            Graph("Requests", "reqps", _rate(f"{HTTP}_count", "route"), "{{route}}"),
            Graph(
                "Failed requests",
                "reqps",
                _rate(f"{HTTP}_count", "route, status", '{status=~"5.."}'),
                "{{status}} {{route}}",
            ),
            Graph("Slowest of 100", "s", _slowest(HTTP, "route", '{route!="/events"}'), "{{route}}"),
            Graph("In progress", "short", "sum by (kind) (mkstore_http_requests_in_progress)", "{{kind}}"),
            Graph("Throttled", "reqps", _rate("mkstore_throttled_requests_total", "limit"), "{{limit}}"),
            Graph("Repeated keys", "reqps", "sum(rate(mkstore_idempotent_replays_total[$__rate_interval]))", "replays"),
        ),
    ),
    (
        "Messages",
        (
            Graph("Replies", "reqps", _rate(f"{REPLIES}_count", "subject, outcome"), "{{subject}} {{outcome}}"),
            Graph("Slowest reply of 100", "s", _slowest(REPLIES, "subject"), "{{subject}}"),
            Graph(
                "Requests of the gateway",
                "reqps",
                _rate("mkstore_nats_request_duration_seconds_count", "outcome"),
                "{{outcome}}",
            ),
            Graph(
                "Consumed",
                "ops",
                _rate("mkstore_consumed_messages_total", "consumer, outcome"),
                "{{consumer}} {{outcome}}",
            ),
            Graph("Slowest message of 100", "s", _slowest(CONSUMED, "consumer"), "{{consumer}}"),
            Graph("Waiting for a consumer", "short", "max by (consumer) (mkstore_consumer_pending)", "{{consumer}}"),
            Graph("Redelivered", "ops", _rate("mkstore_redelivered_messages_total", "consumer"), "{{consumer}}"),
            Graph("Duplicates", "ops", _rate("mkstore_duplicate_messages_total", "consumer"), "{{consumer}}"),
            Graph("Dead letters", "short", "max by (job) (mkstore_dead_letters)", "{{job}}"),
        ),
    ),
    (
        "Outbox, database and processes",
        (
            Graph("Events in the outbox", "short", "max by (job) (mkstore_outbox_rows)", "{{job}}"),
            Graph("Age of the oldest event", "s", "max by (job) (mkstore_outbox_oldest_seconds)", "{{job}}"),
            Graph("Refused events", "short", "max by (job) (mkstore_outbox_refused)", "{{job}}"),
            Graph(
                "Database connections in use", "short", "sum by (job) (mkstore_database_connections_in_use)", "{{job}}"
            ),
            Graph("Copies of each commit", "short", "min by (job) (mkstore_database_copies)", "{{job}}"),
            Graph("Passwords that wait", "short", "sum(mkstore_passwords_pending)", "passwords"),
            Graph("Event loop lag", "s", "max by (job) (mkstore_event_loop_lag_seconds)", "{{job}}"),
        ),
    ),
)


def dashboard() -> str:
    """Return the dashboard as JSON."""
    board = (
        Dashboard("mkstore")
        .uid("mkstore")
        .refresh("30s")
        .time("now-1h", "now")
        .with_variable(DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    for title, graphs in ROWS:
        board = board.with_row(Row(title))
        for graph in graphs:
            query = Dataquery().ref_id("A").expr(graph.query).legend_format(graph.line)
            panel = Panel().title(graph.title).unit(graph.unit).datasource(_SOURCE).span(8).height(7).min(0)
            board = board.with_panel(panel.with_target(query))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


if __name__ == "__main__":
    FILE.write_text(dashboard(), "utf-8")
