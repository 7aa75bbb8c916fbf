"""Capacity that is raised step by step and never helps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gate.domain.capacity import describe_number, field_text, resource_fields
from gate.domain.detection import EvidenceKind, Finding
from gate.domain.patterns.ineffective_loop.loop import (
    Lack,
    Loop,
    build_finding,
    describe_window,
    leave_window,
)
from gate.domain.snapshot import REPLICAS, Field
from gate.domain.trace import UNLIMITED, Trace
from gate.domain.words import describe_span

_TOLERANCE = 1e-9  # three steps of a third each, in floats


@dataclass(frozen=True, slots=True)
class _Climb:
    """Raises of one field, in order, the candidate's not among them, and what all multiply to.

    `is_assessed` where it is known of one whether it helped, `is_ineffective` where it is known not
    to have, or its alert went on firing.
    """

    field: Field
    raises: tuple[Trace, ...]
    factor: float
    is_assessed: bool
    is_ineffective: bool

    def needed(self, loop: Loop) -> float | None:
        """Return the multiple that trips; None where what is known speaks for the raises."""
        if self.is_ineffective:
            return loop.thresholds.ratchet_factor
        return None if self.is_assessed else loop.thresholds.ratchet_factor_unassessed

    def trips(self, loop: Loop) -> bool:
        """Tell whether this is too much."""
        needed = self.needed(loop)
        return needed is not None and self.factor >= needed - _TOLERANCE


def find_ratchet(loop: Loop) -> Finding | Lack | None:
    """Find the field that was raised furthest without effect, with the candidate as last step."""
    climbs = [
        climb
        for field in _fields(loop)
        for climb in _climbs(loop, field)
        if len(climb.raises) + 1 >= loop.occurrences
        and loop.is_within(loop.window, climb.raises[0])
    ]
    tripped = [climb for climb in climbs if climb.trips(loop)]
    if not tripped:
        factor = loop.thresholds.ratchet_factor - _TOLERANCE
        is_blind = any(not climb.is_assessed and climb.factor >= factor for climb in climbs)
        return Lack.NO_SCORE if is_blind else None
    return _build(loop, tripped)


def _build(loop: Loop, tripped: list[_Climb]) -> Finding:
    highest = max(tripped, key=lambda climb: climb.factor)
    needed = highest.needed(loop) or loop.thresholds.ratchet_factor
    first, field = highest.raises[0], highest.field
    base, top = first.before(field), loop.trace.after(field)
    path = f"{describe_number(field, base or 0)} → {describe_number(field, top or 0)}"
    known = "a step is known not to have helped" if highest.is_ineffective else "none was assessed"
    return build_finding(
        loop,
        EvidenceKind.RATCHET,
        seen=round(highest.factor, 6),
        needed=needed,
        series=highest.raises,
        until=max(
            leave_window(climb.raises[:1], needed=1, window=loop.window) for climb in tripped
        ),
        summary=(
            f"{field_text(field)} is raised for time {len(highest.raises) + 1} in "
            f"{describe_span(loop.span_since(highest.raises))}, {path}: {highest.factor:.1f} times "
            f"as much, and {known}; {needed:.1f} times is too much {describe_window(loop.window)}"
        ),
        evidence={
            "ratchet_factor": loop.thresholds.ratchet_factor,
            "ratchet_factor_unassessed": loop.thresholds.ratchet_factor_unassessed,
            "min_occurrences": loop.occurrences,
            "window_seconds": loop.window.total_seconds(),
            "field": field_text(field),
            "values": [
                [describe_number(field, number) for number in pair]
                for trace in (*highest.raises, loop.trace)
                if (pair := _numbers(trace, field)) is not None
            ],
        },
        fields=tuple(dict.fromkeys(field_text(climb.field) for climb in tripped)),
    )


def _fields(loop: Loop) -> tuple[Field, ...]:
    change = loop.candidate.change
    is_scaled = loop.thresholds.ratchet_replicas and change.find(REPLICAS) is not None
    return (*resource_fields(loop.trace.changed), *((REPLICAS,) if is_scaled else ()))


def _climbs(loop: Loop, field: Field) -> Iterator[_Climb]:
    """Return the climbs that end with the candidate, one for each raise they may begin with.

    What multiplies are the agents' own steps, down as well as up: what others did in between, a
    person's approval included, adds nothing. A step that helped ends the way back, and so does one
    from or to nothing, which is no multiple.
    """
    ratio = _ratio(loop.trace, field)
    if ratio is None or ratio <= 1:
        return
    climb = _Climb(field, (), ratio, is_assessed=False, is_ineffective=False)
    for trace in reversed(loop.earlier):
        if trace.approval is not None or not trace.changes(field):
            continue
        ratio = _ratio(trace, field)
        if ratio is None or (ratio > 1 and _has_helped(loop, trace)):
            return
        climb = _extend(climb, trace, ratio)
        if ratio > 1:
            yield climb


def _extend(climb: _Climb, trace: Trace, ratio: float) -> _Climb:
    if ratio <= 1:
        return replace(climb, factor=climb.factor * ratio)
    is_firing = trace.is_alert_firing is True
    return replace(
        climb,
        raises=(trace, *climb.raises),
        factor=climb.factor * ratio,
        is_assessed=climb.is_assessed or _is_assessed(trace),
        is_ineffective=climb.is_ineffective or trace.score is not None or is_firing,
    )


def _is_assessed(trace: Trace) -> bool:
    return trace.score is not None or trace.is_alert_firing is not None


def _has_helped(loop: Loop, trace: Trace) -> bool:
    return trace.score is not None and trace.score >= loop.effectiveness_threshold


def _ratio(trace: Trace, field: Field) -> float | None:
    numbers = _numbers(trace, field)
    if numbers is None or not all(0 < number < UNLIMITED for number in numbers):
        return None
    before, after = numbers
    return after / before


def _numbers(trace: Trace, field: Field) -> tuple[int, int] | None:
    before, after = trace.before(field), trace.after(field)
    return None if before is None or after is None else (before, after)
