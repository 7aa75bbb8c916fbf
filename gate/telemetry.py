"""Logging, metrics, and the one line per admission."""

import json
import logging
import sys
from collections.abc import Callable, Iterable

import orjson
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
            "Active patterns that cannot be used as they stand in the table, or are too many.",
            registry=self._registry,
        )
        self.policy_modes_unusable = Gauge(
            "gate_policy_modes_unusable",
            "1 while the row of the modes cannot be used as it stands in the table.",
            registry=self._registry,
        )
        self.policy_file_unusable = Gauge(
            "gate_policy_file_unusable",
            "1 while the policy file, or a pattern in it, cannot be used.",
            registry=self._registry,
        )
        self.policy_agents_pending = Gauge(
            "gate_policy_agents_pending",
            "1 while the policy file names other agents than those that were taken at the start.",
            registry=self._registry,
        )
        self.policy_rows_put_back = Counter(
            "gate_policy_rows_put_back",
            "Rows that were edited by hand and made equal to the policy file again.",
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
        self.spool_entries = Gauge(
            "gate_spool_entries",
            "Traces on the local disk that the database has not taken yet.",
            registry=self._registry,
        )
        self.spool_bytes = Gauge(
            "gate_spool_bytes",
            "Bytes of the local spool, files that were set aside included.",
            registry=self._registry,
        )
        self.spool_oldest = Gauge(
            "gate_spool_oldest_seconds",
            "For how long the oldest trace in the spool has been waiting.",
            registry=self._registry,
        )
        self.spool_failures = Counter(
            "gate_spool_failures",
            "What the spool could not keep, read or hand over, by reason.",
            ["reason"],
            registry=self._registry,
        )
        self.breaker_open = Gauge(
            "gate_breaker_open",
            "1 while calls of the admission path fail at once, since the database is away.",
            registry=self._registry,
        )
        self.outcomes = Counter(
            "gate_outcomes",
            "Outcomes of admitted changes that this replica told, by status.",
            ["status"],
            registry=self._registry,
        )
        self.outcomes_awaited = Gauge(
            "gate_outcomes_awaited",
            "Admitted changes of which it is not known yet whether they took effect, or how.",
            registry=self._registry,
        )
        self.outcomes_truncated = Counter(
            "gate_outcomes_truncated",
            "Looks for awaited changes that found more than are read at once.",
            registry=self._registry,
        )
        self.watch_continuous_since = Gauge(
            "gate_watch_continuous_since_timestamp_seconds",
            "Since when nothing of a kind was missed; 0 while this replica does not watch.",
            ["kind"],
            registry=self._registry,
        )
        self.watch_interruptions = Counter(
            "gate_watch_interruptions",
            "Watches of the cluster that ended before their time, by reason.",
            ["kind", "reason"],
            registry=self._registry,
        )
        self.leadership = Gauge(
            "gate_leadership",
            "1 while this replica holds the lease.",
            ["lease"],
            registry=self._registry,
        )
        self.duty_failures = Counter(
            "gate_duty_failures",
            "Bugs that made this replica give a lease up for a while.",
            ["lease"],
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


def _render(event: object, *, default: Callable[[object], object]) -> str:
    """Return an event as JSON; what has no form there as `default` makes of it."""
    try:
        return orjson.dumps(event, default=default).decode()
    except TypeError:
        # A lone surrogate, or an integer beyond 64 bits.
        return json.dumps(event, default=default)


def configure_logging(level: str) -> None:
    """Write one JSON object per event to standard error, libraries' warnings included.

    Tracebacks are without local variables, which may hold secrets.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
    ]
    renderer = structlog.processors.JSONRenderer(_render)
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
