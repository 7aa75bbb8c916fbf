"""What is known to be refused, in memory: a database that is away must not disarm the gate."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from gate.domain.pattern import Mode, Strategy
from gate.domain.record import NewDetection, Recording
from gate.domain.trace import History, OpenDetection
from gate.domain.workload import WorkloadKey
from gate.ports.detections import Detections

AT_MOST = 10_000

# How far a detection binds: a workload, or an actor in a namespace of a cluster.
_Reach: TypeAlias = WorkloadKey | tuple[str, str, str]
_Identity: TypeAlias = tuple[int, str, tuple[str, ...], str | None, datetime]


@dataclass(frozen=True, slots=True)
class _Held:
    """A detection, in the order of what was learned when, and whether the database has it."""

    detection: OpenDetection
    learned: int
    is_recorded: bool = True


class DetectionBook:
    """Holds the detections that bind: as the database lists them now and then, and as reviews go.

    At most 10 000; beyond that, those that end first are let go of.
    """

    def __init__(
        self,
        source: Detections,
        *,
        cluster: str,
        clock: Callable[[], datetime],
        at_most: int = AT_MOST,
    ) -> None:
        self._source = source
        self._cluster = cluster
        self._clock = clock
        self._at_most = at_most
        self._held: dict[_Reach, dict[_Identity, _Held]] = {}
        self._count = 0
        self._learned = 0

    async def run_once(self) -> None:
        """Read the detections of the cluster again; raises StorageUnavailableError.

        What this replica learned meanwhile, and what the database does not have yet, is kept.
        """
        before, now = self._learned, self._clock()
        listed = await self._source.list_open_detections(self._cluster, now=now)
        kept = [
            (reach, held)
            for reach, detections in self._held.items()
            for held in detections.values()
            if held.detection.until > now and (held.learned > before or held.detection.id is None)
        ]
        self._held, self._count = {}, 0
        for reach, held in kept:
            self._hold(reach, held.detection, is_recorded=held.is_recorded)
        for known in listed:
            self._hold(_reach_of(known.key, known.detection), known.detection)

    def learn(self, history: History, *, now: datetime) -> None:
        """Take over what the database has just said of a workload.

        What waits for it on the disk stays: the database cannot know of that yet.
        """
        if not history.detections and history.key not in self._held:
            return
        dropped = self._held.pop(history.key, {})
        self._count -= len(dropped)
        for held in dropped.values():
            if not held.is_recorded and held.detection.until > now:
                self._hold(history.key, held.detection, is_recorded=False)
        for detection in history.detections:
            if detection.until > now and detection.mode is Mode.ENFORCE:
                self._hold(_reach_of(history.key, detection), detection)

    def learn_opened(self, recording: Recording, *, is_recorded: bool) -> None:
        """Take over what a trace opens, whether the database has it already or the spool."""
        if not recording.opens:
            return
        types = _pattern_types(recording.decision)
        for new in recording.opens:
            if new.mode is Mode.ENFORCE:
                detection = _open(new, types.get(new.pattern_id, ""))
                reach = _reach_of(recording.key, detection)
                self._hold(reach, detection, is_recorded=is_recorded)

    def known(self, key: WorkloadKey, actor: str, now: datetime) -> tuple[OpenDetection, ...]:
        """Return what binds a workload, or the actor in its namespace, those that end first before.

        `id` is None where only this replica knows of one.
        """
        reaches: Iterable[_Reach] = (key, (key.cluster, key.namespace, actor))
        found = [
            held.detection
            for reach in reaches
            for held in self._held.get(reach, {}).values()
            if held.detection.until > now
        ]
        return tuple(sorted(found, key=lambda detection: detection.until))

    def _hold(self, reach: _Reach, detection: OpenDetection, *, is_recorded: bool = True) -> None:
        self._learned += 1
        detections = self._held.setdefault(reach, {})
        identity = _identify(detection)
        self._count += identity not in detections
        detections[identity] = _Held(detection, self._learned, is_recorded=is_recorded)
        if self._count > self._at_most:
            self._let_go()

    def _let_go(self) -> None:
        """Let go of the tenth that ends first: a tenth, so that this is seldom."""
        held = [(reach, identity) for reach, own in self._held.items() for identity in own]
        held.sort(key=lambda one: one[1][-1])
        for reach, identity in held[: max(1, self._at_most // 10)]:
            del self._held[reach][identity]
            self._count -= 1
            if not self._held[reach]:
                del self._held[reach]


def _reach_of(key: WorkloadKey, detection: OpenDetection) -> _Reach:
    return key if detection.actor is None else (key.cluster, key.namespace, detection.actor)


def _identify(detection: OpenDetection) -> _Identity:
    """Return what makes two detections the same, whether one has an id yet or not."""
    return (
        detection.pattern_id,
        detection.evidence_kind,
        detection.fields,
        detection.action_type,
        detection.until,
    )


def _pattern_types(decision: Mapping[str, object]) -> dict[object, str]:
    objections = decision.get("objections")
    return {
        objection.get("pattern_id"): str(objection.get("pattern", ""))
        for objection in (objections if isinstance(objections, list) else [])
        if isinstance(objection, dict)
    }


def _open(new: NewDetection, pattern_type: str) -> OpenDetection:
    fields = new.evidence.get("fields")
    action_type = new.evidence.get("action_type")
    touched = new.evidence.get("touched")
    return OpenDetection(
        id=None,
        pattern_id=new.pattern_id,
        pattern_type=pattern_type,
        evidence_kind=str(new.evidence.get("kind", "")),
        fields=tuple(map(str, fields)) if isinstance(fields, list) else (),
        until=new.until,
        mode=new.mode,
        prevention_applied=new.prevention_applied,
        summary=str(new.evidence.get("summary", "")),
        strategy=Strategy(str(new.prevention_details.get("strategy", Strategy.COOLING_PERIOD))),
        action_type=None if action_type is None else str(action_type),
        actor=new.bound_actor,
        spares=tuple(map(str, touched)) if isinstance(touched, list) else (),
    )
