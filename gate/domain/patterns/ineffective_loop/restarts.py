"""The identical change again, which only a restart can be: any other, repeated, changes nothing."""

from collections.abc import Iterator

from gate.domain.detection import EvidenceKind, Finding
from gate.domain.patterns.ineffective_loop.loop import (
    Loop,
    build_finding,
    describe_window,
    leave_window,
)
from gate.domain.snapshot import REPLICAS, RESTARTED_AT
from gate.domain.trace import METADATA, State, Trace
from gate.domain.words import describe_span

_MOVED_BY_OTHERS = ("restarted", "metadata", REPLICAS.name)  # the revision of a rollout, an HPA


def find_identical(loop: Loop) -> Finding | None:
    """Find restarts one after another of a workload that nothing else changed in between."""
    if not _is_restart(loop.trace):
        return None
    needed, window = loop.thresholds.identical_occurrences, loop.thresholds.identical_window
    counted = {trace.action_id for trace in loop.counted(window)}
    series = [trace for trace in _walk_back(loop) if trace.action_id in counted][::-1]
    if len(series) + 1 < needed:
        return None
    return build_finding(
        loop,
        EvidenceKind.IDENTICAL,
        seen=len(series) + 1,
        needed=needed,
        series=series,
        until=leave_window(series, needed=needed - 1, window=window),
        summary=(
            f"{loop.trace.action_type} comes for time {len(series) + 1} in "
            f"{describe_span(loop.span_since(series))} and nothing else changed in between; "
            f"{needed} are too many {describe_window(window)}"
        ),
        evidence={
            "identical_occurrences": needed,
            "identical_window_seconds": window.total_seconds(),
        },
    )


def _walk_back(loop: Loop) -> Iterator[Trace]:
    """Return the same change as the candidate, latest first, for as long as nothing else came.

    Labels and annotations of the object are nothing else: they change no pod. What anybody else
    changed is told by the states. An approved restart is passed by.
    """
    later = loop.trace
    for trace in reversed(loop.earlier):
        if _is_restart(trace) and _what(trace) == _what(loop.trace):
            if _rest(trace.state_after) != _rest(later.seen.state):
                return
            yield trace
            later = trace
        elif not trace.is_of_metadata and trace.action_id not in loop.unconfirmed:
            return


def _is_restart(trace: Trace) -> bool:
    return any(name in RESTARTED_AT for _, name in trace.changed)


def _what(trace: Trace) -> object:
    """Return what a change does, but for its instant and for what an agent says about it."""
    return trace.action_type, {
        item: after
        for item, (_, after) in trace.changed.items()
        if item[1] not in RESTARTED_AT and not item[1].startswith(METADATA)
    }


def _rest(state: State | None) -> object:
    return {name: held for name, held in (state or {}).items() if name not in _MOVED_BY_OTHERS}
