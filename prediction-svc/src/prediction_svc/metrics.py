"""What the service tells Prometheus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import start_wsgi_server

from foretick_rpc.errors import StartupError

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600, 1800)


class Metrics:
    """Set where it happens; counters and durations by the replica that did the work alone."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        horizon = ["horizon"]
        self.issued = Counter(
            "foretick_forecasts_issued", "Forecasts written down.", horizon, registry=registry
        )
        self.missed = Counter(
            "foretick_forecasts_missed", "Sessions nobody forecast.", horizon, registry=registry
        )
        self.resolved = Counter(
            "foretick_forecasts_resolved", "Outcomes written down.", horizon, registry=registry
        )
        self.ledger_head = Gauge(
            "foretick_ledger_head_number", "The ledger's last row.", ["market"], registry=registry
        )
        self.coverage = Gauge(
            "foretick_coverage_63_sessions_ratio",
            "Share of outcomes in the 80 % band over the last 63 target dates.",
            horizon,
            registry=registry,
        )
        self.alarm = Gauge(
            "foretick_alarm_ringing",
            "1 while the alarm rings: coverage or drift.",
            ["alarm", "horizon"],
            registry=registry,
        )
        self.model_created = Gauge(
            "foretick_model_created_timestamp_seconds",
            "When the model that answers was trained; its age is time() less this.",
            registry=registry,
        )
        self.training = Histogram(
            "foretick_training_duration_seconds",
            "Real time of training one model.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            "foretick_batch_duration_seconds",
            "Real time from a close to its forecasts being served.",
            buckets=_SECONDS,
            registry=registry,
        )


@asynccontextmanager
async def serving_metrics(metrics: Metrics, listen: str) -> AsyncIterator[int]:
    """Answer Prometheus at host:port until left; yields the port, 0 where `listen` is empty.

    Raises StartupError where it cannot be listened on.
    """
    if not listen:
        yield 0
        return
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_wsgi_server(int(port), host.strip("[]"), metrics.registry)
    except (OSError, OverflowError) as error:
        message = f"PREDICTION_METRICS_LISTEN: cannot listen on {listen} ({error})"
        raise StartupError(message) from error
    try:
        yield server.server_port
    finally:
        await asyncio.to_thread(server.shutdown)
        thread.join()
        server.server_close()
