"""What the rules about loops share: the earlier changes that count, and the form of a finding.

Confidence is x / (x + y): x is how much was seen and y how much trips, counted alike. So it is 0.5
where a rule just trips, grows with the evidence and never reaches 1. A finding is critical where
twice as much was seen as trips, else a warning.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gate.domain.corroboration import Effect, judge_effects
from gate.domain.detection import Candidate, EvidenceKind, Finding, Response, Severity
from gate.domain.pattern import LoopThresholds, Mode, Pattern
from gate.domain.snapshot import REPLICAS
from gate.domain.trace import Trace
from gate.domain.window import find_end
from gate.domain.words import describe_span, escape

_FIELDS_AT_MOST = 16  # of one change in the evidence; a creation has hundreds
_NAME_AT_MOST = 60
_REPLICAS = (REPLICAS.container, REPLICAS.name)


class Lack(StrEnum):
    """What input a rule went without."""

    NO_SCORE = "no-score"
    NO_ALERT = "no-alert"
    UNCONFIRMED = "outcome-unconfirmed"
    STALE = "stale-sighting"


@dataclass(frozen=True, slots=True)
class Loop:
    """The candidate and the earlier changes of its workload that took effect or may have.

    `unconfirmed` are the ids of those of which it is not known.
    """

    candidate: Candidate
    pattern: Pattern
    earlier: tuple[Trace, ...]
    unconfirmed: frozenset[str]

    @property
    def trace(self) -> Trace:
        """Return the change under judgement."""
        return self.candidate.trace

    @property
    def thresholds(self) -> LoopThresholds:
        """Return the thresholds of the rules."""
        return self.pattern.loop

    @property
    def occurrences(self) -> int:
        """Return the `min_occurrences` of this workload."""
        return self.candidate.history.overrides.min_occurrences or self.pattern.min_occurrences

    @property
    def effectiveness_threshold(self) -> float:
        """Return the score below which a change of this workload did not help."""
        override = self.candidate.history.overrides.effectiveness_threshold
        return self.thresholds.effectiveness_threshold if override is None else override

    @property
    def window(self) -> timedelta:
        """Return the window of this workload."""
        return window_of(self.candidate, self.pattern)

    def is_within(self, window: timedelta, trace: Trace) -> bool:
        """Tell whether a change lies no further back than a window."""
        return self.candidate.now - trace.seen.at <= window

    def counted(self, window: timedelta, among: Sequence[Trace] | None = None) -> list[Trace]:
        """Return the changes within a window that agents answer for: no person approved them."""
        since = self.candidate.now - window
        return [
            trace
            for trace in (self.earlier if among is None else among)
            if trace.approval is None and trace.seen.at >= since
        ]

    def span_since(self, traces: Sequence[Trace]) -> timedelta:
        """Return the time from the first of some changes to the candidate, not less than none."""
        return max(self.candidate.now - traces[0].seen.at, timedelta(0))


def open_loop(candidate: Candidate, pattern: Pattern) -> Loop:
    """Return the case of a change, with what no rule looks as far back for left out.

    What came back may have been replaced up to a window before.
    """
    traces = candidate.history.traces
    limits = pattern.loop
    reach = max(
        2 * window_of(candidate, pattern),
        limits.alert_window,
        limits.identical_window,
        limits.churn_window,
    )
    since = candidate.now - reach
    first = next((i for i, trace in enumerate(traces) if trace.seen.at >= since), len(traces))
    judged = judge_effects(traces[first:], None, candidate=candidate.trace)
    unknown, refuted = Effect.UNKNOWN, Effect.DID_NOT
    return Loop(
        candidate=candidate,
        pattern=pattern,
        earlier=tuple([trace for trace, effect in judged if effect is not refuted]),
        unconfirmed=frozenset([trace.action_id for trace, effect in judged if effect is unknown]),
    )


def window_of(candidate: Candidate, pattern: Pattern) -> timedelta:
    """Return the window that holds for the candidate's workload."""
    return candidate.history.overrides.window or pattern.window


def direction_of(trace: Trace) -> int:
    """Return 1 where a change gives replicas, -1 where it takes some, else 0.

    Of resources the action type tells.
    """
    before, after = trace.changed.get(_REPLICAS, (None, None))
    if not isinstance(before, int) or not isinstance(after, int):
        return 0
    return (after > before) - (after < before)


def leave_window(traces: Iterable[Trace], *, needed: int, window: timedelta) -> datetime:
    """Return the first whole second at which fewer than `needed` of some changes are within it."""
    return find_end((trace.seen.at for trace in traces), needed=max(needed, 1), window=window)


def build_finding(
    loop: Loop,
    kind: EvidenceKind,
    *,
    seen: float,
    needed: float,
    series: Sequence[Trace],
    until: datetime,
    summary: str,
    evidence: Mapping[str, object],
    fields: tuple[str, ...] = (),
    mode: Mode | None = None,
) -> Finding:
    """Return what a rule found; what binds is the candidate's action type, whatever the fields.

    `series` are the earlier changes that it rests on, in order.
    """
    return Finding(
        pattern=loop.pattern,
        evidence_kind=kind,
        response=Response.REFUSE,
        fields=fields or field_names(loop.trace),
        until=until,
        confidence=round(seen / (seen + needed), 3),
        severity=Severity.CRITICAL if seen >= 2 * needed else Severity.WARNING,
        summary=summary,
        describe=lambda: {
            "seen": seen,
            "needed": needed,
            **evidence,
            "series": [describe_trace(trace) for trace in (*series, loop.trace)],
        },
        action_ids=tuple(trace.action_id for trace in series),
        span=loop.span_since(series) if series else timedelta(0),
        action_type=loop.trace.action_type,
        mode=mode,
    )


def field_names(trace: Trace) -> tuple[str, ...]:
    """Return how the fields that a change touched read, without the last of many."""
    return tuple(item_text(*item) for item in sorted(trace.changed))[:_FIELDS_AT_MOST]


def item_text(container: str, name: str) -> str:
    """Return how a field reads, such as `replicas` or `web image`."""
    return f"{container} {name}" if container else name


def describe_trace(trace: Trace) -> dict[str, object]:
    """Return the entry of a series, with the values of the fields it changed."""
    items = sorted(trace.changed)[:_FIELDS_AT_MOST]
    return {
        "version": trace.version,
        "time": trace.seen.at.isoformat(),
        "action_type": trace.action_type,
        "before": {item_text(*item): trace.changed[item][0] for item in items},
        "after": {item_text(*item): trace.changed[item][1] for item in items},
        "actor": trace.actor,
        "action_id": trace.action_id,
        "alert": trace.alert,
        "score": trace.score,
        "is_alert_firing": trace.is_alert_firing,
    }


def describe_alert(alert: str | None) -> str:
    """Return the words that name an alert, none where there is none."""
    return "" if alert is None else f" for alert {escape(alert, limit=_NAME_AT_MOST)}"


def describe_window(window: timedelta) -> str:
    """Return a window in words."""
    return f"within {describe_span(window)}"
