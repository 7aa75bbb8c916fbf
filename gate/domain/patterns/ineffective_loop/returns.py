"""Back to values that agents themselves had replaced: images, templates and environments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gate.domain.change import Operation
from gate.domain.detection import EvidenceKind, Finding
from gate.domain.patterns.ineffective_loop.loop import (
    Loop,
    build_finding,
    describe_window,
    item_text,
    leave_window,
)
from gate.domain.trace import Trace, path_of
from gate.domain.words import describe_span, escape

Item = tuple[str, str]
_VALUE_AT_MOST = 80


@dataclass(frozen=True, slots=True)
class _Return:
    """That a change brings back a field's value which an agent's change had replaced."""

    trace: Trace
    item: Item
    replaced: Trace


def find_return(loop: Loop) -> Finding | None:
    """Find the field that comes back for the n-th time, what others change left out of account."""
    if not any(map(_is_restorable, loop.trace.changed)):
        return None
    changes = loop.counted(2 * loop.window)
    found = [
        (latest, earlier)
        for latest in _returns(loop, loop.trace, changes)
        if len(earlier := _earlier_returns(loop, latest.item, changes)) + 1 >= loop.occurrences
    ]
    if not found:
        return None
    latest, earlier = max(found, key=lambda pair: len(pair[1]))
    needed, series = loop.occurrences, [back.trace for back in earlier]
    return build_finding(
        loop,
        EvidenceKind.RETURN,
        seen=len(earlier) + 1,
        needed=needed,
        series=series,
        until=max(_until(loop, *pair) for pair in found),
        summary=(
            f"{item_text(*latest.item)} goes back{_describe_value(latest)}, which an agent replaced"
            f" {describe_span(loop.span_since([latest.replaced]))} ago: return "
            f"{len(earlier) + 1} in {describe_span(loop.span_since(series or [latest.replaced]))}; "
            f"{needed} are too many {describe_window(loop.window)}"
        ),
        evidence={
            "min_occurrences": needed,
            "window_seconds": loop.window.total_seconds(),
            "field": item_text(*latest.item),
            "replaced_by": [back.replaced.action_id for back in (*earlier, latest)],
        },
        fields=tuple(item_text(*back.item) for back, _ in found),
    )


def _earlier_returns(loop: Loop, item: Item, changes: Sequence[Trace]) -> list[_Return]:
    return [
        back
        for index, trace in enumerate(changes)
        if loop.is_within(loop.window, trace)
        for back in _returns(loop, trace, changes[:index])
        if back.item == item
    ]


def _returns(loop: Loop, trace: Trace, before: Sequence[Trace]) -> list[_Return]:
    """Return the fields that a change brings back, each with the latest change that replaced it."""
    found = []
    for item, (_, after) in trace.changed.items():
        if not _is_restorable(item):
            continue
        replacing = (
            earlier
            for earlier in reversed(before)
            if earlier.seen.operation is Operation.UPDATE
            and item in earlier.changed
            and earlier.changed[item][0] == after
            and trace.seen.at - earlier.seen.at <= loop.window
        )
        replaced = next(replacing, None)
        if replaced is not None:
            found.append(_Return(trace, item, replaced))
    return found


def _is_restorable(item: Item) -> bool:
    """Tell whether a field is an image or in the template, environments included."""
    return item[1] == "image" or path_of(*item) == ("digest",)


def _until(loop: Loop, latest: _Return, earlier: Sequence[_Return]) -> datetime:
    """Return when the value is replaced long enough ago, or too few returns are left."""
    ends = [leave_window([latest.replaced], needed=1, window=loop.window)]
    needed = loop.occurrences - 1
    if needed > 0:
        traces = [back.trace for back in earlier]
        ends.append(leave_window(traces, needed=needed, window=loop.window))
    return min(ends)


def _describe_value(back: _Return) -> str:
    """Say what came back where it may be read: the values of images are not sealed."""
    value = back.trace.changed[back.item][1]
    if back.item[1] != "image" or not isinstance(value, str):
        return " to what it was"
    return f" to {escape(value, limit=_VALUE_AT_MOST)}"
