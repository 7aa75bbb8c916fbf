"""Logging, metrics, and the one line per admission."""

import logging
import sys
from collections.abc import Iterable

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from structlog.tracebacks import ExceptionDictTransformer

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Every metric gate exposes; labels come from closed sets, never from a workload or actor."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.reviews = Counter(
            "gate_admission_reviews",
            "Reviews answered, by what was asked and what was answered.",
            ["operation", "kind", "verdict", "mode"],
            registry=self._registry,
        )
        self.unrecognised = Counter(
            "gate_admission_unrecognised_actors",
            "Reviews of callers that no agent rule names: matchConditions and agents differ.",
            registry=self._registry,
        )
        self.rejected = Counter(
            "gate_admission_rejected_requests",
            "HTTP requests to the webhook that were not a review, by reason.",
            ["reason"],
            registry=self._registry,
        )
        self.failures = Counter(
            "gate_admission_failures",
            "Reviews that gate could not decide or record, by stage.",
            ["stage"],
            registry=self._registry,
        )
        self.incomplete = Counter(
            "gate_evaluations_incomplete",
            "Evaluations that had to do without an input.",
            ["pattern", "reason"],
            registry=self._registry,
        )
        self.duration = Histogram(
            "gate_admission_duration_seconds",
            "From the request's last byte to the answer.",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.patterns_unusable = Gauge(
            "gate_patterns_unusable",
            "Active patterns that cannot be used as they stand in the table.",
            registry=self._registry,
        )
        self.partition_horizon = Gauge(
            "gate_partition_horizon_days",
            "Days until traces have no partition any more.",
            registry=self._registry,
        )
        self.certificate_expiry = Gauge(
            "gate_certificate_expiry_timestamp_seconds",
            "When the certificate that is being served ends.",
            registry=self._registry,
        )
        self.loop_success = Gauge(
            "gate_loop_last_success_timestamp_seconds",
            "When a loop last did its work.",
            ["loop"],
            registry=self._registry,
        )

    def mark_loop(self, name: str) -> None:
        """Note that a loop has just done its work."""
        self.loop_success.labels(name).set_to_current_time()

    def count_incomplete(self, missing: Iterable[tuple[str, str]]) -> None:
        """Count the evaluations that had to do without an input."""
        for pattern, reason in missing:
            self.incomplete.labels(pattern, reason).inc()

    def expose(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self._registry)


def configure_logging(level: str) -> None:
    """Write one JSON object per event to standard error, libraries' warnings included.

    Tracebacks are without local variables, which may hold secrets.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
    ]
    renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
