"""What one admission writes: a new trace with its detections, or one more attempt at an old one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gate.domain.actor import Actor
from gate.domain.context import Context
from gate.domain.decision import Decision, Objection
from gate.domain.detection import Candidate, Finding, Severity
from gate.domain.escalation import NewEscalation
from gate.domain.pattern import Mode, Strategy
from gate.domain.trace import Trace
from gate.domain.workload import WorkloadKey

_APPLIED = {
    Strategy.BLOCK_ACTION: "blocked",
    Strategy.COOLING_PERIOD: "blocked",
    Strategy.ESCALATE_HUMAN: "escalated",
    Strategy.ALTERNATIVE_ACTION: "alternative-suggested",
}


@dataclass(frozen=True, slots=True)
class NewDetection:
    """A detection to be stored; `until` is what agents are promised.

    `bound_actor` is set where it binds that actor in the whole namespace.
    """

    pattern_id: int
    detected_at: datetime
    confidence: float
    severity: Severity
    action_count: int
    time_span: timedelta
    matching_actions: tuple[str, ...]
    evidence: Mapping[str, object]
    prevention_applied: bool
    prevention_action: str | None
    prevention_details: Mapping[str, object]
    until: datetime
    mode: Mode
    bound_actor: str | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A new trace, written only while the history is still at `expected_version`.

    Without an expected version it is written in any case and leaves the version as it is: a denial
    for contention. `changes_capacity` tells whether replicas or resources are among what changes;
    `enforces` are detections that a refusal is now applied for, `asks` is the escalation it opens,
    `reserves` the one whose approval lets the change through. `spooled_at` is set where the trace
    waited in the local spool for the database: one that is recorded already is then corrected to
    what was answered.
    """

    key: WorkloadKey
    expected_version: int | None
    labels: Mapping[str, str] | None
    trace: Trace
    actor: Actor
    mode: Mode
    context: Context
    parameters: Mapping[str, object]
    changes_capacity: bool
    decision: Mapping[str, object]
    opens: tuple[NewDetection, ...] = ()
    enforces: tuple[int, ...] = ()
    asks: NewEscalation | None = None
    reserves: str | None = None
    spooled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Repetition:
    """One more attempt at a recorded request, with the resourceVersion it saw last."""

    key: WorkloadKey
    expected_version: int
    action_id: str
    recorded_at: datetime
    seen_at: datetime
    resource_version: str | None


Write = Recording | Repetition


def build_detections(candidate: Candidate, decision: Decision) -> tuple[NewDetection, ...]:
    """Return the detections that a decision opens."""
    return tuple(
        _detection(candidate, objection, objection.finding)
        for objection in decision.objections
        if objection.opens and objection.finding is not None
    )


def describe_decision(
    decision: Decision, *, problems: tuple[str, ...], warnings: tuple[str, ...]
) -> dict[str, object]:
    """Return the `decision` column: why, in a form that can be read and repeated."""
    described: dict[str, object] = {
        "verdict": decision.verdict,
        "objections": [
            {
                "pattern": objection.pattern.type,
                "pattern_id": objection.pattern.id,
                "strategy": objection.strategy,
                "mode": objection.mode,
                "response": objection.response,
                "until": objection.until.isoformat(),
                "summary": objection.summary,
                "detections": [detection.id for detection in objection.bound_by],
                **_describe_suggestion(objection),
            }
            for objection in decision.objections
        ],
    }
    escalation = decision.asks or decision.asked
    if escalation is not None:
        described["escalation"] = escalation.id
    if decision.approval is not None:
        described["approval"] = {
            "escalation": decision.approval.id,
            "decided_by": decision.approval.decided_by,
        }
    if decision.incomplete:
        described["incomplete"] = [[pattern, reason] for pattern, reason in decision.incomplete]
    if problems:
        described["input_problems"] = list(problems)
    if warnings:
        described["warnings"] = list(warnings)
    return described


def _describe_suggestion(objection: Objection) -> dict[str, object]:
    suggestion = objection.suggestion
    return {} if suggestion is None else {"suggests": suggestion.effectiveness.action_type}


def _detection(candidate: Candidate, objection: Objection, finding: Finding) -> NewDetection:
    return NewDetection(
        pattern_id=objection.pattern.id,
        detected_at=candidate.now,
        confidence=finding.confidence,
        severity=finding.severity,
        action_count=len(finding.action_ids) + 1,
        time_span=finding.span,
        matching_actions=(*finding.action_ids, candidate.trace.action_id),
        evidence={
            "kind": finding.evidence_kind,
            "fields": list(finding.fields),
            "summary": finding.summary,
            **({"action_type": finding.action_type} if finding.action_type else {}),
            **finding.evidence,
            **(
                {
                    "also": [
                        {
                            "kind": other.evidence_kind,
                            "fields": list(other.fields),
                            **other.evidence,
                        }
                        for other in also
                    ]
                }
                if (also := objection.also)
                else {}
            ),
        },
        prevention_applied=objection.refuses,
        prevention_action=_APPLIED[objection.strategy] if objection.refuses else None,
        prevention_details={
            "strategy": objection.strategy,
            "response": objection.response,
            **_describe_suggestion(objection),
        },
        until=objection.until,
        mode=objection.mode,
        bound_actor=candidate.trace.actor if finding.binds_actor else None,
    )
