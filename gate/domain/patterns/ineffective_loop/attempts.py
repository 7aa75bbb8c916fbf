"""Too many attempts: of one kind that did not help, for one alert, or of any kind."""

from dataclasses import replace
from itertools import takewhile

from gate.domain.detection import EvidenceKind, Finding, Severity
from gate.domain.patterns.ineffective_loop.loop import (
    Lack,
    Loop,
    build_finding,
    describe_alert,
    describe_window,
    direction_of,
    leave_window,
)
from gate.domain.words import describe_span

ANY_FIELD = ("*",)
_DIRECTIONS = {1: " up", 0: "", -1: " down"}
_SCORES_AT_MOST = 5


def find_ineffective(loop: Loop) -> Finding | Lack | None:
    """Find another change like the latest assessed ones, all of which did too little.

    Alike are those of one action type, direction and alert, or without a known alert all of them.
    One that helped starts the count anew, approved or not; one without a score does nothing.
    """
    threshold = loop.effectiveness_threshold
    direction = direction_of(loop.trace)
    kind, alert = loop.trace.action_type, loop.trace.alert
    alike = [
        trace
        for trace in loop.earlier
        if trace.action_type is kind and trace.alert == alert and direction_of(trace) == direction
    ]
    if all(trace.score is None for trace in alike):
        return Lack.NO_SCORE if loop.counted(loop.window, alike) else None
    assessed = [trace for trace in alike if trace.score is not None]
    in_a_row = takewhile(lambda t: t.score is not None and t.score < threshold, assessed[::-1])
    failed = loop.counted(loop.window, list(in_a_row)[::-1])
    if len(failed) < loop.occurrences:
        return None
    scores = ", ".join(f"{trace.score:.2f}" for trace in failed[-_SCORES_AT_MOST:])
    return build_finding(
        loop,
        EvidenceKind.INEFFECTIVE,
        seen=len(failed),
        needed=loop.occurrences,
        series=failed,
        until=leave_window(failed, needed=loop.occurrences, window=loop.window),
        summary=(
            f"{loop.trace.action_type}{_DIRECTIONS[direction]}"
            f"{describe_alert(loop.trace.alert)} did not help {len(failed)} times in a row in "
            f"{describe_span(loop.span_since(failed))} (scores {scores}; effective is "
            f"{threshold:.2f}), and this is another"
        ),
        evidence={
            "effectiveness_threshold": threshold,
            "min_occurrences": loop.occurrences,
            "window_seconds": loop.window.total_seconds(),
            "alert": loop.trace.alert,
            "direction": direction,
        },
    )


def find_same_alert(loop: Loop) -> Finding | Lack | None:
    """Find one action type that one known alert is answered with again and again."""
    if loop.trace.alert is None:
        return Lack.NO_ALERT
    needed, window = loop.thresholds.alert_occurrences, loop.thresholds.alert_window
    series = [
        trace
        for trace in loop.counted(window)
        if trace.alert == loop.trace.alert and trace.action_type is loop.trace.action_type
    ]
    if len(series) + 1 < needed:
        return None
    return build_finding(
        loop,
        EvidenceKind.SAME_ALERT,
        seen=len(series) + 1,
        needed=needed,
        series=series,
        until=leave_window(series, needed=needed - 1, window=window),
        summary=(
            f"{loop.trace.action_type}{describe_alert(loop.trace.alert)} comes for time "
            f"{len(series) + 1} in {describe_span(loop.span_since(series))}; "
            f"{needed} are too many {describe_window(window)}"
        ),
        evidence={
            "alert_occurrences": needed,
            "alert_window_seconds": window.total_seconds(),
            "alert": loop.trace.alert,
        },
    )


def find_churn(loop: Loop) -> Finding | None:
    """Find a workload that agents change too often, whatever they change.

    It binds changes of any kind, which `fields` says. It is worth knowing, and a warning where
    twice as many changes came as are too many.
    """
    needed, window = loop.thresholds.churn_occurrences, loop.thresholds.churn_window
    if len(loop.earlier) + 1 < needed:
        return None
    series = loop.counted(window)
    if len(series) + 1 < needed:
        return None
    kinds = {trace.action_type for trace in (*series, loop.trace)}
    finding = build_finding(
        loop,
        EvidenceKind.CHURN,
        seen=len(series) + 1,
        needed=needed,
        series=series,
        until=leave_window(series, needed=needed - 1, window=window),
        summary=(
            f"agents change it for time {len(series) + 1} in "
            f"{describe_span(loop.span_since(series))}, in {len(kinds)} ways; "
            f"{needed} are too many {describe_window(window)}"
        ),
        evidence={
            "churn_occurrences": needed,
            "churn_window_seconds": window.total_seconds(),
        },
        fields=ANY_FIELD,
        mode=loop.thresholds.churn_mode,
    )
    is_bad = finding.severity is Severity.CRITICAL
    return replace(
        finding, severity=Severity.WARNING if is_bad else Severity.INFO, action_type=None
    )
