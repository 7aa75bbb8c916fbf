"""What people, agents and the audit log are told; these words are API."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gate.domain.decision import Decision, Objection
from gate.domain.detection import EvidenceKind, Response
from gate.domain.pattern import Mode, Strategy
from gate.domain.trace import Trace, Verdict
from gate.domain.words import describe_instant, escape
from gate.domain.workload import WorkloadKey

_WARNING_AT_MOST = 250
_NAME_IN_WARNING_AT_MOST = 136  # what the longest warning leaves
_LIKE_COOLING = (Strategy.ESCALATE_HUMAN, Strategy.ALTERNATIVE_ACTION)
_WHY = {
    EvidenceKind.REVERSAL: (
        "every further swing starts another rollout and keeps the workload from settling."
    ),
    EvidenceKind.CONTESTED: (
        "as long as two write the same field, each undoes the other and the workload never settles."
    ),
}
CONTENTION_WAIT = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason of a denial, for programs."""

    reason: str
    message: str
    field: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server is answered; `message` and `causes` are of a denial only."""

    verdict: Verdict
    message: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after: timedelta | None = None
    warnings: tuple[str, ...] = ()
    audit: Mapping[str, str] = field(default_factory=dict)


def answer_decision(
    decision: Decision, key: WorkloadKey, *, now: datetime, action_id: str | None
) -> Answer:
    """Say what was decided; without an action id nothing is recorded (a dry run)."""
    if decision.verdict is Verdict.DENY:
        return _deny(decision, key, now=now, action_id=action_id)
    return Answer(
        Verdict.ALLOW,
        warnings=tuple(
            _one_line(_warn(objection, key, now=now)) for objection in decision.objections
        ),
        audit=_audit(decision, action_id),
    )


def repeat_allow(trace: Trace) -> Answer:
    """Say again what was said when a change was admitted."""
    warnings = trace.decision.get("warnings")
    return Answer(
        Verdict.ALLOW,
        warnings=tuple(map(str, warnings)) if isinstance(warnings, list) else (),
        audit={"action-id": trace.action_id, "verdict": str(Verdict.ALLOW)},
    )


def answer_contention(key: WorkloadKey, *, mode: Mode, action_id: str | None) -> Answer:
    """Say that other changes kept coming first until the deadline."""
    audit = {"action-id": action_id} if action_id else {}
    reason = f"{_name(key)} is being changed by several requests at once; retry in 1 s"
    if mode is Mode.AUDIT:
        warning = _one_line(f"gate (audit): would have been refused: {reason}")
        return Answer(Verdict.ALLOW, warnings=(warning,), audit={**audit, "verdict": Verdict.ALLOW})
    return Answer(
        Verdict.DENY,
        message="\n".join(
            (
                f"gate could not decide about {_name(key)}: it is being changed by several requests"
                f" at once.",
                "Nothing is held against this change; retry in 1 s.",
                _trace(action_id),
            )
        ),
        causes=(Cause("Contention", reason, ""),),
        retry_after=CONTENTION_WAIT,
        audit={**audit, "verdict": Verdict.DENY},
    )


def answer_undecided(reason: str) -> Answer:
    """Admit a change that gate cannot judge or record, by failure mode `open`."""
    warning = _one_line(f"gate: admitted without a check and not recorded: {reason}")
    return Answer(Verdict.ALLOW, warnings=(warning,), audit={"verdict": "undecided"})


def warn_unrecorded(answer: Answer, reason: str) -> Answer:
    """Add to an answer that its trace could not be written."""
    warning = _one_line(f"gate: decided, but not recorded: {reason}")
    return Answer(
        answer.verdict,
        answer.message,
        answer.causes,
        answer.retry_after,
        (*answer.warnings, warning),
        answer.audit,
    )


def _deny(decision: Decision, key: WorkloadKey, *, now: datetime, action_id: str | None) -> Answer:
    refusals = [objection for objection in decision.objections if objection.refuses]
    until = max(objection.until for objection in refusals)
    wait = timedelta(seconds=max(1, math.ceil((until - now).total_seconds())))
    return Answer(
        Verdict.DENY,
        message="\n".join(
            (
                f"gate refused this change of {_name(key)}.",
                *(f"Seen: {_describe(objection)}" for objection in refusals),
                f"Why it matters: {_WHY[_kind_of(refusals[0])]}",
                f"Retry: the same change is admitted from {describe_instant(until)} (in"
                f" {int(wait.total_seconds())} s) if nothing else changes it until then."
                f"{_alternatives(refusals)}",
                "Otherwise: a person can make the change now with their own credentials; people"
                " are never sent to gate.",
                _trace(action_id),
            )
        ),
        causes=tuple(
            Cause(
                _camel(objection.pattern.type),
                escape(objection.summary, limit=600),
                ",".join(_path(name) for name in _fields(objection)),
            )
            for objection in refusals
        ),
        retry_after=wait,
        audit=_audit(decision, action_id),
    )


def _warn(objection: Objection, key: WorkloadKey, *, now: datetime) -> str:
    until = describe_instant(objection.until)
    name = escape(f"{key.namespace}/{key.name}", limit=_NAME_IN_WARNING_AT_MOST)
    if objection.mode is Mode.ENFORCE:
        return (
            f"gate: admitted, but {name} oscillates: a reduction of "
            f"{_listed(objection)} is refused until {until}"
        )
    seconds = math.ceil((objection.until - now).total_seconds())
    if objection.response is Response.WARN:
        return (
            f"gate (audit): would have been admitted, and reductions of {name} refused "
            f"until {until} ({objection.pattern.type})"
        )
    return (
        f"gate (audit): would have been refused for {seconds} s: {objection.pattern.type} of "
        f"{name}: {objection.summary}"
    )


def _describe(objection: Objection) -> str:
    """Say what one pattern saw, and where its strategy is not built yet, what happens instead."""
    seen = f"{objection.pattern.type}: {escape(objection.summary, limit=600)}."
    if objection.pattern.strategy not in _LIKE_COOLING:
        return seen
    return (
        f"{seen} Its strategy is {objection.pattern.strategy}, which this release enforces as a"
        f" cooling period."
    )


def _kind_of(objection: Objection) -> EvidenceKind:
    if objection.finding is not None:
        return objection.finding.evidence_kind
    return EvidenceKind(objection.bound_by[0].evidence_kind)


def _alternatives(refusals: list[Objection]) -> str:
    """Say which increase is still admitted, where one pattern alone stands against the change."""
    first, *others = refusals
    if others or first.increase_up_to is None:
        return ""
    return f" An increase up to {first.increase_up_to} replicas is admitted all the same."


def _audit(decision: Decision, action_id: str | None) -> dict[str, str]:
    annotations = {"verdict": str(decision.verdict), "mode": str(decision.mode)}
    if action_id is not None:
        annotations["action-id"] = action_id
    if decision.objections:
        first = decision.objections[0]
        alike = [
            o for o in decision.objections if (o.mode, o.response) == (first.mode, first.response)
        ]
        until = describe_instant(max(objection.until for objection in alike))
        would = first.response if first.mode is Mode.ENFORCE else f"would {first.response}"
        annotations["objection"] = f"{first.pattern.type}: {would} until {until}"
    return annotations


def _name(key: WorkloadKey) -> str:
    return f"{key.kind} {escape(key.namespace, limit=63)}/{escape(key.name, limit=253)}"


def _trace(action_id: str | None) -> str:
    return f"Trace: {action_id}" if action_id else "Dry run: nothing is recorded."


def _fields(objection: Objection) -> tuple[str, ...]:
    if objection.finding is not None:
        return objection.finding.fields
    return tuple(dict.fromkeys(name for bound in objection.bound_by for name in bound.fields))


def _listed(objection: Objection) -> str:
    return ", ".join(_fields(objection))


def _path(name: str) -> str:
    return f"spec.{name}"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _one_line(text: str) -> str:
    """Return text fit for a warning header: one line, within its limit."""
    return escape(text, limit=_WARNING_AT_MOST)
