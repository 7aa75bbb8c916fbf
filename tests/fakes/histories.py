"""Histories in memory: the same compare-and-set, the same bounds of what is read back."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count, product
from typing import TypedDict

from gate.domain.change import ActionType, Operation
from gate.domain.escalation import Escalation, EscalationState
from gate.domain.pattern import Mode, PatternType, Strategy
from gate.domain.record import NewDetection, Recording, Repetition, Write
from gate.domain.trace import (
    COOLINGS_AT_MOST,
    NEARBY_AT_MOST,
    NEARBY_BACK,
    NOT_PERSISTED,
    READ_AT_MOST,
    READ_BACK,
    Cooling,
    History,
    Nearby,
    OpenDetection,
    Trace,
    Verdict,
)
from gate.domain.workload import WorkloadKey
from gate.ports.histories import Question
from tests.fakes.stored import kept_decision, stored_changes, through_json

_LIVE = (EscalationState.OPEN, EscalationState.APPROVED)
_HARMLESS = (ActionType.CREATE_WORKLOAD, ActionType.UPDATE_METADATA)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A detection as it is kept, also when it no longer binds."""

    open: OpenDetection
    detected_at: datetime
    made_on: str
    is_resolved: bool = False


class _Surroundings(TypedDict):
    nearby: tuple[Nearby, ...]
    nearby_since: datetime | None


class MemoryHistories:
    """Satisfies `Histories` without a database.

    `recordings` and `repetitions` are what was written, in order; `corrections` what was recorded
    already; `attempts` counts them per trace; `notified` has the ids of opened escalations.
    """

    def __init__(self, pattern_types: Mapping[int, str] | None = None) -> None:
        self.recordings: list[Recording] = []
        self.repetitions: list[Repetition] = []
        self.corrections: list[Recording] = []
        self.attempts: Counter[str] = Counter()
        self.notified: list[str] = []
        self.reads = 0
        self._pattern_types = pattern_types or {1: PatternType.SCALE_OSCILLATION}
        self._histories: dict[WorkloadKey, History] = {}
        self._detections: dict[WorkloadKey, list[_Stored]] = {}
        self._escalations: dict[WorkloadKey, dict[str, Escalation]] = {}
        self._last_seen: dict[WorkloadKey, datetime] = {}
        self._capacity_changes: set[str] = set()
        self._ids = count(1)

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        del deadline
        self.reads += 1
        key = question.key
        history = self._histories.get(key, History(key))
        recent = [trace for trace in history.traces if now - trace.seen.at <= READ_BACK]
        kept = [
            trace
            for sort in product(Verdict, (True, False))
            for trace in [t for t in recent if self._sort_of(t) == sort][-READ_AT_MOST:]
        ]
        return replace(
            history,
            traces=tuple(sorted(kept, key=lambda trace: (trace.version, trace.action_id))),
            detections=self._open_detections(question, now),
            coolings=self._coolings(key, now),
            escalations=tuple(
                escalation
                for _, escalation in sorted(self._escalations.get(key, {}).items())
                if escalation.state in _LIVE and escalation.expires_at > now
            ),
            **self._surroundings(question, now),
        )

    async def record(self, write: Write, *, deadline: float) -> bool:
        del deadline
        if isinstance(write, Recording) and write.spooled_at is not None and self._correct(write):
            return True
        history = self._histories.get(write.key, History(write.key))
        expected = write.expected_version
        if expected is not None and expected != history.version:
            return False
        if isinstance(write, Repetition):
            self._histories[write.key] = self._repeat(history, write)
            return True
        if write.reserves is not None and not self._reserve(write, write.reserves):
            return False
        self._histories[write.key] = self._append(history, write)
        return True

    def answer_escalation(self, escalation_id: str, state: EscalationState, *, by: str) -> None:
        """Let a person approve or deny, which moves the version of the workload."""
        (key,) = (key for key, known in self._escalations.items() if escalation_id in known)
        known = self._escalations[key]
        known[escalation_id] = replace(known[escalation_id], state=state, decided_by=by)
        self._move(key)

    def free_escalation(self, escalation_id: str) -> None:
        """Let the change that an approval let through turn out not to have been persisted."""
        (key,) = (key for key, known in self._escalations.items() if escalation_id in known)
        known = self._escalations[key]
        known[escalation_id] = replace(known[escalation_id], reserved_by=None)
        self._move(key)

    def observe(self, action_id: str, **observed: object) -> None:
        """Replace fields of a trace, as the watcher and assessments do."""
        for key, history in self._histories.items():
            traces = tuple(
                replace(trace, **observed)  # type: ignore[arg-type]  # fields of the test's choice
                if trace.action_id == action_id
                else trace
                for trace in history.traces
            )
            self._histories[key] = replace(history, traces=traces)

    def _move(self, key: WorkloadKey) -> None:
        history = self._histories[key]
        self._histories[key] = replace(history, version=history.version + 1)

    def _sort_of(self, trace: Trace) -> tuple[Verdict, bool]:
        return trace.verdict, trace.action_id in self._capacity_changes

    def _open_detections(self, question: Question, now: datetime) -> tuple[OpenDetection, ...]:
        place = (question.key.cluster, question.key.namespace)
        found = [
            stored.open
            for key, all_stored in self._detections.items()
            for stored in all_stored
            if not stored.is_resolved
            and stored.open.until > now
            and (
                key == question.key
                or (stored.open.actor == question.actor and (key.cluster, key.namespace) == place)
            )
        ]
        return tuple(sorted(found, key=lambda detection: detection.id or 0))

    def _coolings(self, key: WorkloadKey, now: datetime) -> tuple[Cooling, ...]:
        past = [
            Cooling(stored.open.pattern_id, stored.detected_at, stored.open.until)
            for stored in self._detections.get(key, ())
            if stored.open.prevention_applied
            and stored.open.mode is Mode.ENFORCE
            and (stored.is_resolved or stored.open.until <= now)
            and now - stored.detected_at <= READ_BACK
        ]
        past.sort(key=lambda cooling: cooling.detected_at, reverse=True)
        return tuple(past[:COOLINGS_AT_MOST])

    def _surroundings(self, question: Question, now: datetime) -> _Surroundings:
        own: list[Nearby] = []
        related: list[Nearby] = []
        for key, history in self._histories.items():
            if (key.cluster, key.namespace) != (question.key.cluster, question.key.namespace):
                continue
            for trace in history.traces:
                if not _is_around(trace, now):
                    continue
                if trace.actor == question.actor:
                    own.append(_as_nearby(key, trace))
                elif (
                    question.correlation_id is not None
                    and trace.correlation_id == question.correlation_id
                ):
                    related.append(_as_nearby(key, trace))
        newest = [sorted(found, key=_time_of)[-NEARBY_AT_MOST:] for found in (own, related)]
        cuts = [found[0].at for found in newest if len(found) == NEARBY_AT_MOST]
        decisive = (change for found in newest for change in _keep_decisive(found))
        return {
            "nearby": tuple(sorted(decisive, key=_time_of)),
            "nearby_since": max(cuts, default=None),
        }

    def _correct(self, write: Recording) -> bool:
        """Make a trace say what was answered; tell whether there is one."""
        history = self._histories.get(write.key)
        known = () if history is None else history.traces
        earlier = next((t for t in known if t.action_id == write.trace.action_id), None)
        if history is None or earlier is None:
            return False
        corrected = replace(
            earlier,
            verdict=write.trace.verdict,
            decision=kept_decision(write.decision),
            status=earlier.status if earlier.verdict is write.trace.verdict else write.trace.status,
        )
        corrected = replace(corrected, approval=_approval_of(write.decision))
        if corrected != earlier:
            self.corrections.append(write)
        traces = tuple(corrected if trace is earlier else trace for trace in history.traces)
        self._histories[write.key] = replace(history, traces=traces)
        if earlier.verdict is Verdict.ALLOW and corrected.verdict is Verdict.DENY:
            self._undo(write.key, earlier.action_id)
        return True

    def _undo(self, key: WorkloadKey, action_id: str) -> None:
        """Take back what a change that was refused after all brought with it."""
        self._move(key)
        escalations = self._escalations.get(key, {})
        for id_, escalation in escalations.items():
            if escalation.reserved_by == action_id and escalation.state is EscalationState.APPROVED:
                escalations[id_] = replace(escalation, reserved_by=None)
        self._detections[key] = [
            replace(stored, is_resolved=True)
            if stored.made_on == action_id and not stored.open.prevention_applied
            else stored
            for stored in self._detections.get(key, ())
        ]

    def _reserve(self, write: Recording, escalation_id: str) -> bool:
        """Reserve an approval; one that is gone keeps no spooled trace from being written."""
        known = self._escalations.get(write.key, {})
        escalation = known.get(escalation_id)
        if (
            escalation is None
            or escalation.state is not EscalationState.APPROVED
            or escalation.expires_at <= write.trace.seen.at
            or (write.spooled_at is not None and escalation.reserved_by is not None)
        ):
            return write.spooled_at is not None
        known[escalation_id] = replace(escalation, reserved_by=write.trace.action_id)
        return True

    def _append(self, history: History, write: Recording) -> History:
        version = history.version + (0 if write.expected_version is None else 1)
        seen = write.trace.seen
        is_unborn = seen.operation is Operation.CREATE and write.trace.verdict is Verdict.DENY
        last_seen = self._last_seen.get(write.key, seen.at)
        is_outdated = write.spooled_at is not None and seen.at < last_seen
        self._last_seen[write.key] = max(last_seen, seen.at)
        self.recordings.append(write)
        self.attempts[write.trace.action_id] += 1
        if write.changes_capacity:
            self._capacity_changes.add(write.trace.action_id)
        self._follow(write.key, write.enforces, seen.at)
        self._detections.setdefault(write.key, []).extend(map(self._open, write.opens))
        if write.asks is not None:
            self._ask(write)
        return replace(
            history,
            version=version,
            labels=history.labels
            if write.labels is None or is_unborn or is_outdated
            else write.labels,
            traces=(*history.traces, _stored(write, version)),
        )

    def _ask(self, write: Recording) -> None:
        asks = write.asks
        assert asks is not None
        self._escalations.setdefault(write.key, {})[asks.id] = Escalation(
            asks.id, asks.digest, EscalationState.OPEN, asks.expires_at
        )
        self.notified.append(asks.id)

    def _repeat(self, history: History, write: Repetition) -> History:
        self.repetitions.append(write)
        self.attempts[write.action_id] += 1
        self._follow(write.key, (), write.seen_at)
        return replace(
            history,
            version=history.version + 1,
            traces=tuple(
                _see_again(trace, write) if trace.action_id == write.action_id else trace
                for trace in history.traces
            ),
        )

    def _follow(self, key: WorkloadKey, enforces: tuple[int, ...], now: datetime) -> None:
        """Resolve what has run out, and mark what is now applied."""
        self._detections[key] = [
            replace(stored, is_resolved=True)
            if stored.open.until <= now
            else replace(stored, open=replace(stored.open, prevention_applied=True))
            if stored.open.id in enforces
            else stored
            for stored in self._detections.get(key, ())
        ]

    def _open(self, new: NewDetection) -> _Stored:
        evidence = through_json(new.evidence) or {}
        fields = evidence["fields"]
        action_type, touched = evidence.get("action_type"), evidence.get("touched")
        assert isinstance(fields, list)
        return _Stored(
            OpenDetection(
                id=next(self._ids),
                pattern_id=new.pattern_id,
                pattern_type=self._pattern_types[new.pattern_id],
                evidence_kind=str(evidence["kind"]),
                fields=tuple(fields),
                until=new.until,
                mode=new.mode,
                prevention_applied=new.prevention_applied,
                summary=str(evidence["summary"]),
                strategy=Strategy(str(new.prevention_details["strategy"])),
                action_type=None if action_type is None else str(action_type),
                actor=new.bound_actor,
                spares=tuple(map(str, touched)) if isinstance(touched, list) else (),
            ),
            new.detected_at,
            made_on=new.matching_actions[-1] if new.matching_actions else "",
        )


def _is_around(trace: Trace, now: datetime) -> bool:
    return (
        trace.verdict is Verdict.ALLOW
        and trace.action_type not in _HARMLESS
        and now - trace.seen.at <= NEARBY_BACK
    )


def _as_nearby(key: WorkloadKey, trace: Trace) -> Nearby:
    return Nearby(
        key=key,
        action_id=trace.action_id,
        at=trace.seen.at,
        actor=trace.actor,
        action_type=trace.action_type,
        status=trace.status,
        error=trace.error,
        is_alert_firing=trace.is_alert_firing,
    )


def _keep_decisive(changes: Iterable[Nearby]) -> Iterable[Nearby]:
    """Return the newest of each outcome of each workload; `changes` come oldest first."""
    newest = {}
    for change in changes:
        is_lost = None if change.error is None else change.error.startswith(NOT_PERSISTED)
        newest[change.key, change.status, is_lost, change.is_alert_firing] = change
    return newest.values()


def _time_of(change: Nearby) -> tuple[datetime, str]:
    return change.at, change.action_id


def _stored(write: Recording, version: int) -> Trace:
    """Return the trace as it is read back, its JSON columns through JSON."""
    trace = write.trace
    return replace(
        trace,
        version=version,
        seen=replace(trace.seen, state=through_json(trace.seen.state)),
        state_after=through_json(trace.state_after),
        changed=stored_changes(write.parameters),
        decision=kept_decision(write.decision),
        approval=_approval_of(write.decision),
        alert=write.context.alert_name,
        correlation_id=write.context.correlation_id,
    )


def _approval_of(decision: Mapping[str, object]) -> str | None:
    approval = decision.get("approval")
    return str(approval["escalation"]) if isinstance(approval, Mapping) else None


def _see_again(trace: Trace, write: Repetition) -> Trace:
    version = write.resource_version or trace.seen.resource_version
    return replace(trace, seen=replace(trace.seen, resource_version=version))
