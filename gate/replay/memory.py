"""Histories in memory, with the bounds of those in the database."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count

from gate.domain.decision import Objection
from gate.domain.detection import Finding
from gate.domain.trace import (
    READ_AT_MOST,
    READ_BACK,
    Cooling,
    ExecutionStatus,
    History,
    OpenDetection,
    Trace,
    Verdict,
)
from gate.domain.workload import WorkloadKey
from gate.replay.judging import Judgement

_TRACES_AT_MOST = 100_000
_COOLINGS_AT_MOST = 64


def _traces() -> deque[Trace]:
    return deque(maxlen=READ_AT_MOST)


@dataclass(slots=True)
class _Record:
    """One workload's history; changes of capacity are bounded apart from the others."""

    version: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    capacity: deque[Trace] = field(default_factory=_traces)
    others: deque[Trace] = field(default_factory=_traces)
    detections: list[OpenDetection] = field(default_factory=list)
    coolings: dict[int, Cooling] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.capacity) + len(self.others)


class Memory:
    """What decisions read back; workloads that were not changed for longest are forgotten first."""

    def __init__(self, *, at_most: int = _TRACES_AT_MOST) -> None:
        self.forgotten = 0
        self._at_most = at_most
        self._kept = 0
        self._records: OrderedDict[WorkloadKey, _Record] = OrderedDict()
        self._ids = count(1)

    def read(self, key: WorkloadKey, *, now: datetime) -> History:
        """Return a workload's history as the database would."""
        record = self._records.get(key)
        if record is None:
            return History(key)
        kept = [
            trace
            for trace in (*record.capacity, *record.others)
            if now - trace.seen.at <= READ_BACK
        ]
        return History(
            key,
            version=record.version,
            labels=record.labels,
            traces=tuple(sorted(kept, key=lambda trace: trace.version)),
            detections=tuple(open_ for open_ in record.detections if open_.until > now),
            coolings=tuple(past for past in record.coolings.values() if past.until <= now),
        )

    def take(self, judgement: Judgement) -> None:
        """Keep a change that happened, whatever was decided about it, and what was detected."""
        key = judgement.key
        record = self._records.pop(key, None) or _Record()
        self._records[key] = record
        self._kept -= len(record)
        record.version += 1
        if judgement.labels is not None:
            record.labels = judgement.labels
        traces = record.capacity if judgement.changes_capacity else record.others
        traces.append(
            replace(
                judgement.trace,
                version=record.version,
                verdict=Verdict.ALLOW,
                status=ExecutionStatus.COMPLETED,
            )
        )
        self._kept += len(record)
        self._detect(record, judgement)
        self._forget()

    def _detect(self, record: _Record, judgement: Judgement) -> None:
        now, decision = judgement.at, judgement.decision
        record.detections = [
            replace(open_, prevention_applied=True) if open_.id in decision.enforces else open_
            for open_ in record.detections
            if open_.until > now
        ]
        for objection in decision.objections:
            if objection.opens and objection.finding is not None:
                _keep(record, self._make(objection, objection.finding, judgement))
        for open_ in record.detections:
            if open_.prevention_applied and open_.id is not None:
                _note_cooling(record, open_.id, open_, now=now)

    def _make(self, objection: Objection, finding: Finding, judgement: Judgement) -> OpenDetection:
        return OpenDetection(
            id=next(self._ids),
            pattern_id=objection.pattern.id,
            pattern_type=objection.pattern.type,
            evidence_kind=finding.evidence_kind,
            fields=finding.fields,
            until=objection.until,
            mode=objection.mode,
            prevention_applied=objection.refuses,
            summary=finding.summary,
            strategy=objection.strategy,
            action_type=finding.action_type,
            actor=judgement.trace.actor if finding.binds_actor else None,
        )

    def _forget(self) -> None:
        while self._kept > self._at_most and len(self._records) > 1:
            _, oldest = self._records.popitem(last=False)
            self._kept -= len(oldest)
            self.forgotten += 1


def _keep(record: _Record, opened: OpenDetection) -> None:
    """Keep a detection; one that goes on from an earlier one prolongs it.

    In a cluster a refused change takes no effect, and nothing needs prolonging. Here it did take
    effect, so the next one meets a higher penalty.
    """
    for number, earlier in enumerate(record.detections):
        if _identity(earlier) == _identity(opened):
            until = max(earlier.until, opened.until)
            record.detections[number] = replace(earlier, until=until)
            return
    record.detections.append(opened)


def _identity(detection: OpenDetection) -> tuple[object, ...]:
    """Return what makes two detections parts of one episode."""
    return (
        detection.pattern_id,
        detection.evidence_kind,
        detection.fields,
        detection.action_type,
        detection.actor,
        detection.mode,
        detection.prevention_applied,
    )


def _note_cooling(record: _Record, number: int, detection: OpenDetection, *, now: datetime) -> None:
    began = record.coolings[number].detected_at if number in record.coolings else now
    record.coolings[number] = Cooling(detection.pattern_id, began, detection.until)
    while len(record.coolings) > _COOLINGS_AT_MOST:
        del record.coolings[next(iter(record.coolings))]
