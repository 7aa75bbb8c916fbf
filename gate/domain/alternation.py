"""Replicas and resources changed in turn, each as if to make up for the other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby, pairwise

from gate.domain.capacity import RESOURCE_NAMES, capacity_fields, field_text
from gate.domain.change import Operation
from gate.domain.corroboration import Effect, judge_effects
from gate.domain.detection import (
    NOTHING,
    Candidate,
    EvidenceKind,
    Examination,
    Finding,
    Response,
    Severity,
)
from gate.domain.pattern import Pattern, Thresholds
from gate.domain.reversal import (
    STALE,
    UNCONFIRMED,
    damping_of,
    deadband_of,
    is_warned_increase,
    limit_to_name,
    open_field_case,
)
from gate.domain.snapshot import REPLICAS
from gate.domain.trace import Trace, Verdict
from gate.domain.window import next_second
from gate.domain.words import describe_span

_NAMED_AT_MOST = 8


class Lever(StrEnum):
    """What a change of capacity pulls."""

    REPLICAS = "replicas"
    RESOURCES = "resources"


_OTHER = {Lever.REPLICAS: Lever.RESOURCES, Lever.RESOURCES: Lever.REPLICAS}


@dataclass(frozen=True, slots=True)
class _Pull:
    """One change of one lever."""

    lever: Lever
    trace: Trace

    @property
    def at(self) -> datetime:
        """Return when it was asked for."""
        return self.trace.seen.at


@dataclass(frozen=True, slots=True)
class _Turns:
    """The levers that were pulled within the window, the candidate's last.

    `needed` changes of lever trip; those in `excused` are not among the pulls.
    """

    pulls: tuple[_Pull, ...]
    needed: int
    window: timedelta
    excused: tuple[str, ...]
    is_unconfirmed: bool

    @property
    def count(self) -> int:
        """Return how often the lever changed."""
        return _count(pull.lever for pull in self.pulls)


def examine_turns(candidate: Candidate, pattern: Pattern) -> Examination:
    """Judge whether the candidate is one change of lever too many.

    `min_occurrences` of them within the window are. A lever that a refusal suggested does not
    count: gate itself asked for it.
    """
    if candidate.is_stale:
        return Examination(incomplete=(STALE,))
    turns = _find_turns(candidate, pattern)
    if turns is None:
        return NOTHING
    *earlier, own = turns.pulls
    return Examination(
        findings=(_report(candidate, pattern, turns),)
        if _trips(earlier, own.lever, turns.needed)
        else (),
        incomplete=(UNCONFIRMED,) if turns.is_unconfirmed else (),
    )


def _find_turns(candidate: Candidate, pattern: Pattern) -> _Turns | None:
    """Return the turns up to the candidate; None where it takes none, or too few were asked for."""
    if not _touch_both((candidate.trace, *candidate.history.traces)):
        return None
    damping = damping_of(candidate, pattern)
    window, needed = damping.window, damping.occurrences
    since = candidate.now - window
    recent = [trace for trace in candidate.history.traces if trace.seen.at >= since]
    own = _pull_of(candidate.trace, pattern.thresholds)
    asked = [
        pull
        for trace in recent
        if trace.verdict is Verdict.ALLOW and trace.approval is None
        if (pull := _pull_of(trace, pattern.thresholds)) is not None
    ]
    if own is None or _count(pull.lever for pull in (*asked, own)) < needed:
        return None  # what did not take effect, or was suggested, can only make it less
    judged = judge_effects(recent, None, candidate=candidate.trace)
    effects = {trace.action_id: effect for trace, effect in judged}
    taken = [pull for pull in asked if effects[pull.trace.action_id] is not Effect.DID_NOT]
    excused = _find_excused(candidate, (*taken, own), window)
    if own.trace.action_id in excused:
        return None
    return _Turns(
        pulls=tuple(pull for pull in (*taken, own) if pull.trace.action_id not in excused),
        needed=needed,
        window=window,
        excused=excused,
        is_unconfirmed=any(effects[pull.trace.action_id] is Effect.UNKNOWN for pull in taken),
    )


def _touch_both(traces: Iterable[Trace]) -> bool:
    """Tell whether changes touch replicas and resources, which most histories do not."""
    names = {name for trace in traces for _, name in trace.changed}
    return not names.isdisjoint(RESOURCE_NAMES) and REPLICAS.name in names


def _pull_of(trace: Trace, thresholds: Thresholds) -> _Pull | None:
    """Return the one lever that a change moves by more than noise; None where none or both."""
    if trace.seen.operation is not Operation.UPDATE:
        return None
    levers = set()
    for field in capacity_fields(trace.changed):
        before, after = trace.before(field), trace.after(field)
        if before is None or after is None or deadband_of(thresholds, field).ignores(before, after):
            continue
        levers.add(Lever.REPLICAS if field == REPLICAS else Lever.RESOURCES)
    return _Pull(levers.pop(), trace) if len(levers) == 1 else None


def _find_excused(
    candidate: Candidate, pulls: Sequence[_Pull], window: timedelta
) -> tuple[str, ...]:
    """Return the pulls that refusals suggested: the next one of the kind, within the window."""
    found = (
        next(_follow(refused, suggested, pulls, window), None)
        for refused in candidate.history.traces
        for suggested in _suggestions_of(refused)
    )
    return tuple(dict.fromkeys(action_id for action_id in found if action_id is not None))


def _follow(
    refused: Trace, suggested: object, pulls: Sequence[_Pull], window: timedelta
) -> Iterator[str]:
    for pull in pulls:
        is_later = pull.trace.version > refused.version and pull.at - refused.seen.at <= window
        if is_later and pull.trace.action_type == suggested:
            yield pull.trace.action_id


def _suggestions_of(trace: Trace) -> Iterator[object]:
    objections = trace.decision.get("objections")
    if trace.verdict is not Verdict.DENY or not isinstance(objections, list):
        return
    for objection in objections:
        if isinstance(objection, dict) and objection.get("suggests"):
            yield objection["suggests"]


def _report(candidate: Candidate, pattern: Pattern, turns: _Turns) -> Finding:
    *earlier, own = turns.pulls
    fields = capacity_fields(candidate.trace.changed)
    opened = [open_field_case(candidate, pattern, field) for field in fields]
    cases = [case for case in opened if case is not None and case.direction != 0]
    warned = all(map(is_warned_increase, cases))
    span = max(own.at - earlier[0].at, timedelta(0))
    until = (
        _clears_at(turns, turns.pulls, _OTHER[own.lever])
        if warned
        else _clears_at(turns, earlier, own.lever)
    )
    return Finding(
        pattern=pattern,
        evidence_kind=EvidenceKind.LEVER_ALTERNATION,
        response=Response.WARN if warned else Response.REFUSE,
        fields=tuple(map(field_text, fields)),
        until=until,
        confidence=round(turns.count / (turns.count + turns.needed), 3),
        severity=Severity.CRITICAL if turns.count >= 2 * turns.needed else Severity.WARNING,
        summary=(
            f"replicas and resources are changed in turn: {_describe_order(turns.pulls)} in "
            f"{describe_span(span)}, {turns.count} changes of lever; {turns.needed} within "
            f"{describe_span(turns.window)} are too many"
        ),
        describe=lambda: {
            "min_occurrences": turns.needed,
            "window_seconds": turns.window.total_seconds(),
            "changes_of_lever": turns.count,
            "excused": list(turns.excused),
            "on_increase": pattern.thresholds.on_increase,
            "increase_cap": pattern.thresholds.increase_cap,
            "series": [_describe_pull(pull) for pull in turns.pulls],
        },
        action_ids=tuple(pull.trace.action_id for pull in earlier),
        span=span,
        increase_up_to=limit_to_name(cases[0]) if len(cases) == 1 else None,
    )


def _clears_at(turns: _Turns, pulls: Sequence[_Pull], lever: Lever) -> datetime:
    """Return the first second at which one more pull of a lever does not trip after these."""
    left = list(pulls)
    for at in sorted(pull.at for pull in pulls):
        left = [pull for pull in left if pull.at > at]
        if not _trips(left, lever, turns.needed):
            break
    return next_second(at + turns.window)


def _trips(earlier: Sequence[_Pull], lever: Lever, needed: int) -> bool:
    """Tell whether a pull changes the lever, and is one such change too many."""
    levers = [pull.lever for pull in earlier]
    return levers[-1:] == [_OTHER[lever]] and _count([*levers, lever]) >= needed


def _count(levers: Iterable[Lever]) -> int:
    return sum(one is not other for one, other in pairwise(levers))


def _describe_order(pulls: Sequence[_Pull]) -> str:
    order = [str(lever) for lever, _ in groupby(pull.lever for pull in pulls)]
    shown = order[-_NAMED_AT_MOST:]
    return ("… → " if len(order) > len(shown) else "") + " → ".join(shown)


def _describe_pull(pull: _Pull) -> dict[str, object]:
    return {
        "version": pull.trace.version,
        "time": pull.at.isoformat(),
        "lever": pull.lever,
        "action_type": pull.trace.action_type,
        "actor": pull.trace.actor,
        "action_id": pull.trace.action_id,
    }
