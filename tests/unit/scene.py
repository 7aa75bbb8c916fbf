"""A namespace of workloads that agents and others change, judged by all seeded patterns.

No service and no storage: reviews are parsed and decided by the real domain, and what takes effect
is what the next review shows.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from gate.domain.actor import Actor, Certainty
from gate.domain.change import Operation
from gate.domain.decision import Decision, decide
from gate.domain.detection import Candidate, Finding
from gate.domain.pattern import (
    CascadeThresholds,
    LoopThresholds,
    Pattern,
    PatternType,
    Strategy,
)
from gate.domain.policy import Policy
from gate.domain.reading import Readings
from gate.domain.record import NewDetection, build_detections
from gate.domain.trace import (
    NOT_PERSISTED,
    ExecutionStatus,
    History,
    Nearby,
    OpenDetection,
    Overrides,
    Trace,
    Verdict,
)
from gate.domain.workload import Kind, WorkloadKey
from gate.services.case import Case, make_trace, open_case
from gate.services.identifiers import make_action_id
from tests.edits import Edit, saying
from tests.reviews import AGENT, Body, make_body, make_scale, next_uid
from tests.timeline import SCALE_OSCILLATION, SEAL, make_request

_SERIAL = count(1)

RESOURCE_THRASHING = Pattern(
    id=2,
    type=PatternType.RESOURCE_THRASHING,
    name="resource-thrashing",
    min_occurrences=3,
    window=timedelta(minutes=90),
    strategy=Strategy.ALTERNATIVE_ACTION,
    own_end=timedelta(minutes=30),
)
INEFFECTIVE_LOOP = Pattern(
    id=3,
    type=PatternType.INEFFECTIVE_LOOP,
    name="ineffective-loop",
    min_occurrences=3,
    window=timedelta(minutes=180),
    strategy=Strategy.ESCALATE_HUMAN,
    own_end=timedelta(minutes=30),
)
CASCADING_FAILURE = Pattern(
    id=4,
    type=PatternType.CASCADING_FAILURE,
    name="cascading-failure",
    min_occurrences=3,
    window=timedelta(minutes=60),
    strategy=Strategy.BLOCK_ACTION,
    own_end=timedelta(minutes=60),
)
SEEDED = (SCALE_OSCILLATION, RESOURCE_THRASHING, INEFFECTIVE_LOOP, CASCADING_FAILURE)


def loop(**thresholds: Any) -> Pattern:
    """Return the seeded pattern of loops with some thresholds of its own."""
    return replace(INEFFECTIVE_LOOP, loop=LoopThresholds(**thresholds))


def cascade(unhealthy_workloads: int, *, min_occurrences: int = 3) -> Pattern:
    """Return the seeded pattern of cascades with other counts."""
    return replace(
        CASCADING_FAILURE,
        min_occurrences=min_occurrences,
        cascade=CascadeThresholds(unhealthy_workloads),
    )


@dataclass(frozen=True, slots=True)
class Played:
    """One change of an agent as it was decided."""

    trace: Trace
    candidate: Candidate
    decision: Decision

    @property
    def is_refused(self) -> bool:
        """Tell whether it was refused."""
        return self.decision.verdict is Verdict.DENY

    @property
    def findings(self) -> list[Finding]:
        """Return everything that any rule found."""
        return [
            finding
            for objection in self.decision.objections
            for finding in (objection.finding, *objection.also)
            if finding is not None
        ]

    @property
    def kinds(self) -> list[str]:
        """Return which rules found something."""
        return [finding.evidence_kind for finding in self.findings]


@dataclass(slots=True)
class Scene:
    """The workloads of one namespace, and what gate keeps about them.

    With `observes` a watcher sees at once whether a change was persisted, and that its rollout is
    complete.
    """

    patterns: tuple[Pattern, ...] = SEEDED
    observes: bool = False
    overrides: Overrides = field(default_factory=Overrides)
    workloads: dict[str, Body] = field(default_factory=dict)
    histories: dict[str, History] = field(default_factory=dict)
    played: list[Played] = field(default_factory=list)
    detections: list[tuple[WorkloadKey, OpenDetection]] = field(default_factory=list)

    def body_of(self, name: str) -> Body:
        """Return a workload as it is stored; one that was not there is made by somebody else."""
        return self.workloads.setdefault(name, make_body(name=name))

    def edit(
        self,
        edit: Edit,
        *,
        at: datetime,
        name: str = "web",
        actor: str = AGENT,
        persists: bool = True,
        approval: str | None = None,
    ) -> Played:
        """Let an agent make an edit of the object."""
        old = copy.deepcopy(self.body_of(name))
        new = edited(old, edit)
        return self._play(name, old, new, at=at, actor=actor, persists=persists, approval=approval)

    def scale(
        self,
        replicas: int,
        *,
        at: datetime,
        name: str = "web",
        actor: str = AGENT,
        persists: bool = True,
    ) -> Played:
        """Let an agent set replicas on `/scale`."""
        body = self.body_of(name)
        old, new = make_scale(body), make_scale(body)
        new["spec"]["replicas"] = replicas
        return self._play(
            name, old, new, at=at, actor=actor, persists=persists, subresource="scale"
        )

    def create(self, name: str, *, at: datetime, actor: str = AGENT) -> Played:
        """Let an agent create a workload."""
        new = make_body(name=name)
        new["metadata"] |= {"uid": next_uid(), "generation": 1}
        del new["metadata"]["resourceVersion"]
        return self._play(name, None, new, at=at, actor=actor)

    def delete(self, *, at: datetime, name: str = "web", actor: str = AGENT) -> Played:
        """Let an agent delete a workload."""
        old = copy.deepcopy(self.body_of(name))
        return self._play(name, old, None, at=at, actor=actor)

    def let_others(self, edit: Edit, *, name: str = "web") -> None:
        """Let somebody who is no agent make an edit, past gate."""
        self._store(name, edited(copy.deepcopy(self.body_of(name)), edit))

    def preview(self, edit: Edit, *, at: datetime, name: str = "web", actor: str = AGENT) -> Played:
        """Decide about an edit and forget it, as a dry run does."""
        old = copy.deepcopy(self.body_of(name))
        return self._decide(name, old, edited(old, edit), at=at, actor=actor)

    def conclude(
        self,
        played: Played,
        *,
        status: ExecutionStatus = ExecutionStatus.COMPLETED,
        error: str | None = None,
        score: float | None = None,
        is_alert_firing: bool | None = None,
    ) -> None:
        """Let the outcome of a change be observed and assessed."""
        name = played.candidate.history.key.name
        history = self.histories[name]
        traces = tuple(
            replace(trace, status=status, error=error, score=score, is_alert_firing=is_alert_firing)
            if trace.action_id == played.trace.action_id
            else trace
            for trace in history.traces
        )
        self.histories[name] = replace(history, traces=traces)

    def _play(
        self,
        name: str,
        old: Body | None,
        new: Body | None,
        *,
        at: datetime,
        actor: str,
        persists: bool = True,
        subresource: str = "",
        approval: str | None = None,
    ) -> Played:
        played = self._decide(name, old, new, at=at, actor=actor, subresource=subresource)
        self.played.append(played)
        is_admitted = not played.is_refused or approval is not None
        persists = persists and is_admitted
        history = played.candidate.history
        trace = replace(
            played.trace,
            verdict=Verdict.ALLOW if is_admitted else Verdict.DENY,
            status=self._status(is_admitted=is_admitted, persists=persists),
            error=NOT_PERSISTED if is_admitted and not persists and self.observes else None,
            approval=approval,
        )
        self.histories[name] = replace(
            history, version=history.version + 1, traces=(*history.traces, trace), detections=()
        )
        self.detections += [
            (history.key, _open(new)) for new in build_detections(played.candidate, played.decision)
        ]
        if persists:
            self._persist(name, new, subresource=subresource)
        return replace(played, trace=trace)

    def _status(self, *, is_admitted: bool, persists: bool) -> ExecutionStatus:
        if not is_admitted:
            return ExecutionStatus.BLOCKED
        if not self.observes:
            return ExecutionStatus.PENDING
        return ExecutionStatus.COMPLETED if persists else ExecutionStatus.FAILED

    def _decide(
        self,
        name: str,
        old: Body | None,
        new: Body | None,
        *,
        at: datetime,
        actor: str,
        subresource: str = "",
    ) -> Played:
        key = WorkloadKey("test", "shop", Kind.DEPLOYMENT, name)
        operation = (
            Operation.CREATE
            if old is None
            else Operation.DELETE
            if new is None
            else Operation.UPDATE
        )
        request = make_request(operation, old=old, new=new, subresource=subresource, user=actor)
        who = Actor(actor, rule="users", certainty=Certainty.PROVEN)
        case = open_case(request, who, cluster="test", readings=Readings(SEAL))
        assert case is not None, "an edit that changes nothing"
        return self._judge(case, key, at=at)

    def _judge(self, case: Case, key: WorkloadKey, *, at: datetime) -> Played:
        actor = case.actor.name
        history = replace(
            self.histories.get(key.name, History(key)),
            overrides=self.overrides,
            nearby=tuple(self._find_nearby(actor, case.context.correlation_id)),
            detections=tuple(
                detection
                for owner, detection in self.detections
                if detection.until > at and (owner == key or detection.actor == actor)
            ),
        )
        action_id = make_action_id(at, next(_SERIAL).to_bytes(10))
        trace = make_trace(case, history, action_id=action_id)
        candidate = Candidate(trace, case.change, history)
        return Played(trace, candidate, decide(candidate, Policy(self.patterns)))

    def _find_nearby(self, actor: str, correlation_id: str | None) -> Iterable[Nearby]:
        for history in self.histories.values():
            for trace in history.traces:
                is_correlated = correlation_id and trace.correlation_id == correlation_id
                if trace.verdict is Verdict.ALLOW and (trace.actor == actor or is_correlated):
                    yield Nearby(
                        key=history.key,
                        action_id=trace.action_id,
                        at=trace.seen.at,
                        actor=trace.actor,
                        action_type=trace.action_type,
                        status=trace.status,
                        error=trace.error,
                        is_alert_firing=trace.is_alert_firing,
                    )

    def _persist(self, name: str, new: Body | None, *, subresource: str) -> None:
        if new is None:
            del self.workloads[name]
        elif subresource:
            stored = copy.deepcopy(self.workloads[name])
            replicas = new["spec"].get("replicas", 0)
            stored["metadata"]["generation"] += stored["spec"]["replicas"] != replicas
            stored["spec"]["replicas"] = replicas
            self._store(name, stored)
        else:
            self._store(name, new)

    def _store(self, name: str, body: Body) -> None:
        body["metadata"]["resourceVersion"] = str(1000 + next(_SERIAL))
        self.workloads[name] = copy.deepcopy(body)


def answering(edit: Edit, alert: str | None) -> Edit:
    """Return the edit with the alert it answers, and words of its own: else the words are stale."""
    return edit if alert is None else saying(edit, alert_name=alert, reasoning=str(next(_SERIAL)))


def edited(old: Body, edit: Edit) -> Body:
    """Return an object after an edit, as the API server would store it.

    The annotations of a Deployment count for its generation too.
    """
    new = copy.deepcopy(old)
    edit(new)
    noted = [body["metadata"].get("annotations") for body in (old, new)]
    new["metadata"]["generation"] += old["spec"] != new["spec"] or noted[0] != noted[1]
    return new


def _open(new: NewDetection) -> OpenDetection:
    evidence: Mapping[str, Any] = new.evidence
    return OpenDetection(
        id=next(_SERIAL),
        pattern_id=new.pattern_id,
        pattern_type="",
        evidence_kind=evidence["kind"],
        fields=tuple(evidence["fields"]),
        until=new.until,
        mode=new.mode,
        prevention_applied=new.prevention_applied,
        summary=evidence["summary"],
        strategy=Strategy(str(new.prevention_details["strategy"])),
        action_type=evidence.get("action_type"),
        actor=new.bound_actor,
    )
