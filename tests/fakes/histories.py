"""Histories in memory: the same compare-and-set, the same bounds of what is read back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count, product

import orjson

from gate.domain.change import Operation
from gate.domain.pattern import PatternType
from gate.domain.record import NewDetection, Recording, Repetition, Write
from gate.domain.trace import (
    READ_AT_MOST,
    READ_BACK,
    History,
    OpenDetection,
    Trace,
    Verdict,
)
from gate.domain.workload import WorkloadKey


class MemoryHistories:
    """Satisfies `Histories` without a database.

    `recordings` and `repetitions` are what was written, in order; `attempts` counts them per trace.
    """

    def __init__(self, pattern_types: Mapping[int, str] | None = None) -> None:
        self.recordings: list[Recording] = []
        self.repetitions: list[Repetition] = []
        self.attempts: Counter[str] = Counter()
        self.reads = 0
        self._pattern_types = pattern_types or {1: PatternType.SCALE_OSCILLATION}
        self._histories: dict[WorkloadKey, History] = {}
        self._capacity_changes: set[str] = set()
        self._ids = count(1)

    async def read(
        self, keys: Sequence[WorkloadKey], *, now: datetime, deadline: float
    ) -> list[History]:
        del deadline
        self.reads += 1
        return [self._read(key, now) for key in keys]

    async def record(self, writes: Sequence[Write], *, deadline: float) -> list[bool]:
        del deadline
        return [self._record(write) for write in writes]

    def _read(self, key: WorkloadKey, now: datetime) -> History:
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
            detections=tuple(d for d in history.detections if d.until > now),
        )

    def _sort_of(self, trace: Trace) -> tuple[Verdict, bool]:
        return trace.verdict, trace.action_id in self._capacity_changes

    def _record(self, write: Write) -> bool:
        history = self._histories.get(write.key, History(write.key))
        expected = write.expected_version
        if expected is not None and expected != history.version:
            return False
        if isinstance(write, Repetition):
            changed = self._repeat(history, write)
        else:
            changed = self._append(history, write)
        self._histories[write.key] = changed
        return True

    def _append(self, history: History, write: Recording) -> History:
        version = history.version + (0 if write.expected_version is None else 1)
        seen = write.trace.seen
        is_unborn = seen.operation is Operation.CREATE and write.trace.verdict is Verdict.DENY
        self.recordings.append(write)
        self.attempts[write.trace.action_id] += 1
        if write.changes_capacity:
            self._capacity_changes.add(write.trace.action_id)
        return replace(
            history,
            version=version,
            labels=history.labels if write.labels is None or is_unborn else write.labels,
            traces=(*history.traces, _stored(write, version)),
            detections=(
                *(_enforce(open_, write.enforces) for open_ in _unexpired(history, seen.at)),
                *map(self._open, write.opens),
            ),
        )

    def _repeat(self, history: History, write: Repetition) -> History:
        self.repetitions.append(write)
        self.attempts[write.action_id] += 1
        return replace(
            history,
            version=history.version + 1,
            traces=tuple(
                _see_again(trace, write) if trace.action_id == write.action_id else trace
                for trace in history.traces
            ),
            detections=_unexpired(history, write.seen_at),
        )

    def _open(self, new: NewDetection) -> OpenDetection:
        fields = new.evidence["fields"]
        assert isinstance(fields, list)
        return OpenDetection(
            id=next(self._ids),
            pattern_id=new.pattern_id,
            pattern_type=self._pattern_types[new.pattern_id],
            evidence_kind=str(new.evidence["kind"]),
            fields=tuple(fields),
            until=new.until,
            mode=new.mode,
            prevention_applied=new.prevention_applied,
            summary=str(new.evidence["summary"]),
        )


def _stored(write: Recording, version: int) -> Trace:
    """Return the trace as it is read back, its JSON columns through JSON."""
    trace = write.trace
    return replace(
        trace,
        version=version,
        seen=replace(trace.seen, state=_through_json(trace.seen.state)),
        state_after=_through_json(trace.state_after),
        decision=_through_json(write.decision) or {},
    )


def _through_json(value: Mapping[str, object] | None) -> Mapping[str, object] | None:
    stored: dict[str, object] | None = orjson.loads(orjson.dumps(value))
    return stored


def _see_again(trace: Trace, write: Repetition) -> Trace:
    version = write.resource_version or trace.seen.resource_version
    return replace(trace, seen=replace(trace.seen, resource_version=version))


def _unexpired(history: History, now: datetime) -> tuple[OpenDetection, ...]:
    return tuple(detection for detection in history.detections if detection.until > now)


def _enforce(detection: OpenDetection, enforced: tuple[int, ...]) -> OpenDetection:
    return replace(detection, prevention_applied=True) if detection.id in enforced else detection
