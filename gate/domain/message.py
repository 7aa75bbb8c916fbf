"""What people, agents and the audit log are told; these words are API."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gate.domain.capacity import describe_holding, parse_field
from gate.domain.decision import Decision, Objection
from gate.domain.detection import EvidenceKind, Response
from gate.domain.effectiveness import EffectivenessScope, Suggestion
from gate.domain.escalation import OPEN_AT_MOST, Escalation
from gate.domain.pattern import Mode, Strategy
from gate.domain.snapshot import RESTARTED_AT
from gate.domain.trace import Trace, Verdict
from gate.domain.words import describe_instant, escape
from gate.domain.workload import WorkloadKey

_WARNING_AT_MOST = 250
_NAME_IN_WARNING_AT_MOST = 136  # what the longest warning leaves
_WHY = {
    EvidenceKind.REVERSAL: (
        "every further swing starts another rollout and keeps the workload from settling."
    ),
    EvidenceKind.CONTESTED: (
        "as long as two write the same field, each undoes the other and the workload never settles."
    ),
    EvidenceKind.LEVER_ALTERNATION: (
        "replicas and resources changed in turn hide from each other which of them helps."
    ),
    EvidenceKind.INEFFECTIVE: "what did not help several times is not likely to help once more.",
    EvidenceKind.SAME_ALERT: (
        "an alert that comes back after every change has a cause that this change does not reach."
    ),
    EvidenceKind.IDENTICAL: (
        "the same change again, with nothing else different, treats a symptom and hides its cause."
    ),
    EvidenceKind.RATCHET: (
        "capacity that only ever grows without helping is taken from everybody else on the node."
    ),
    EvidenceKind.RETURN: (
        "going back and forth between the same versions means that neither of them is the answer."
    ),
    EvidenceKind.CHURN: "a workload that is changed this often never shows what a change did.",
    EvidenceKind.CASCADE: (
        "every further workload that is changed may be left unhealthy like those before it."
    ),
}
_TRACE = "Trace: "
CONTENTION_WAIT = timedelta(seconds=1)
CLOSED_WAIT = timedelta(seconds=5)
_OTHERWISE = (
    "Otherwise: a person can make the change now with their own credentials; people are never sent"
    " to gate."
)


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
    if decision.approval is not None:
        return _admit_approved(decision, decision.approval, key, action_id=action_id)
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


def answer_undecided(action_id: str | None) -> Answer:
    """Admit a change that gate cannot judge, by failure mode `open`."""
    audit = {"action-id": action_id} if action_id else {}
    return Answer(Verdict.ALLOW, audit={**audit, "verdict": "undecided"})


def answer_closed(key: WorkloadKey, *, reason: str, action_id: str | None) -> Answer:
    """Refuse a change that gate cannot judge or record, by failure mode `closed`."""
    audit = {"action-id": action_id} if action_id else {}
    seconds = CLOSED_WAIT.seconds
    return Answer(
        Verdict.DENY,
        message="\n".join(
            (
                f"gate could not decide about {_name(key)}, and refuses what it cannot decide here"
                f" (failure mode closed).",
                f"What failed: {escape(reason, limit=400)}.",
                f"Nothing is held against this change; retry in {seconds} s.",
                _OTHERWISE,
                _trace(action_id),
            )
        ),
        causes=(Cause("Undecided", escape(reason, limit=400), ""),),
        retry_after=CLOSED_WAIT,
        audit={**audit, "verdict": Verdict.DENY},
    )


def answer_unreserved(key: WorkloadKey, *, reason: str, action_id: str | None) -> Answer:
    """Refuse a change that only an approval admits, where that could not be reserved."""
    audit = {"action-id": action_id} if action_id else {}
    seconds = CLOSED_WAIT.seconds
    return Answer(
        Verdict.DENY,
        message="\n".join(
            (
                f"gate could not reserve the approval of this change of {_name(key)}, which lets it"
                f" through once and no second time.",
                f"What failed: {escape(reason, limit=400)}.",
                f"The approval stands; repeat the change as it is in {seconds} s.",
                _OTHERWISE,
                _trace(action_id),
            )
        ),
        causes=(Cause("ApprovalUnreserved", escape(reason, limit=400), ""),),
        retry_after=CLOSED_WAIT,
        audit={**audit, "verdict": Verdict.DENY},
    )


def warn_undecided(answer: Answer, reason: str, *, is_kept: bool) -> Answer:
    """Add to an answer that it was given without the history, and what became of its trace."""
    kept = "recorded here until PostgreSQL takes it" if is_kept else "not recorded"
    is_unchecked = answer.verdict is Verdict.ALLOW and not answer.warnings
    what = "admitted without a check" if is_unchecked else "history not asked"
    if not is_kept:  # an id that nothing is on record by would mislead
        audit = {name: text for name, text in answer.audit.items() if name != "action-id"}
        lines = [line for line in answer.message.split("\n") if not line.startswith(_TRACE)]
        answer = replace(answer, audit=audit, message="\n".join(lines))
    return _add_warning(answer, f"gate: {what}, {kept}: {reason}")


def warn_unrecorded(answer: Answer, reason: str, *, is_kept: bool) -> Answer:
    """Add to an answer that PostgreSQL did not confirm its trace, and what became of it."""
    kept = "recorded here until PostgreSQL takes it" if is_kept else "not recorded"
    return _add_warning(answer, f"gate: decided, {kept}: {reason}")


def _add_warning(answer: Answer, warning: str) -> Answer:
    return replace(answer, warnings=(*answer.warnings, _one_line(warning)))


def _admit_approved(
    decision: Decision, approval: Escalation, key: WorkloadKey, *, action_id: str | None
) -> Answer:
    name = escape(f"{key.namespace}/{key.name}", limit=_NAME_IN_WARNING_AT_MOST)
    who = escape(approval.decided_by or "a person", limit=63)
    return Answer(
        Verdict.ALLOW,
        warnings=(_one_line(f"gate: {name}: admitted once, approved by {who} ({approval.id})"),),
        audit={**_audit(decision, action_id), "approval": approval.id},
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
                f"{_increases(refusals)}",
                *_instead(refusals),
                *_escalated(decision, is_dry_run=action_id is None),
                _OTHERWISE,
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


def _instead(refusals: list[Objection]) -> Iterator[str]:
    """Say what to do instead, where a strategy is to: in the operator's words, or from history."""
    for objection in refusals:
        if objection.strategy is not Strategy.ALTERNATIVE_ACTION:
            continue
        if objection.pattern.alternatives:
            words = "; ".join(escape(each, limit=200) for each in objection.pattern.alternatives)
            yield f"Instead: {words}."
        elif objection.suggestion is not None:
            yield f"Instead: {_describe_suggestion(objection.suggestion)}"
        else:
            yield "Instead: nothing is known to have worked better here; look for the cause first."


def _describe_suggestion(suggestion: Suggestion) -> str:
    known = suggestion.effectiveness
    about = escape(suggestion.scope_value, limit=100)
    where = f"alert {about}" if suggestion.scope is EffectivenessScope.ALERT else f"{about}s"
    return (
        f"{known.action_type} has worked better for {where}: mean score {known.mean:.2f}, at least"
        f" {known.lower:.2f}, from {known.sample_size} changes. It is judged like any other change."
    )


def _escalated(decision: Decision, *, is_dry_run: bool) -> Iterator[str]:
    escalation = decision.asks or decision.asked
    if escalation is None:
        return
    if is_dry_run:
        yield "Escalation: a person would be asked."
        return
    until = describe_instant(escalation.expires_at)
    if decision.is_flooded:
        yield (
            f"Escalation: people have {OPEN_AT_MOST} open questions about this workload; the newest"
            f" is {escalation.id}, open until {until}. No further one is asked."
        )
        return
    yield (
        f"Escalation: a person is asked ({escalation.id}), until {until}. Once approved, exactly"
        f" this change is admitted once: repeat it as it is."
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
    return f"{objection.pattern.type}: {escape(objection.summary, limit=600)}."


def _kind_of(objection: Objection) -> EvidenceKind:
    if objection.finding is not None:
        return objection.finding.evidence_kind
    return EvidenceKind(objection.bound_by[0].evidence_kind)


def _increases(refusals: list[Objection]) -> str:
    """Say which increase is still admitted, where one pattern alone stands against the change."""
    first, *others = refusals
    fields = _fields(first)
    if others or first.increase_up_to is None or len(fields) != 1:
        return ""
    held = describe_holding(parse_field(fields[0]), first.increase_up_to)
    return f" An increase up to {escape(held)} is admitted all the same."


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
    return f"{_TRACE}{action_id}" if action_id else "Dry run: nothing is recorded."


def _fields(objection: Objection) -> tuple[str, ...]:
    if objection.finding is not None:
        return objection.finding.fields
    return tuple(dict.fromkeys(name for bound in objection.bound_by for name in bound.fields))


def _listed(objection: Objection) -> str:
    return ", ".join(_fields(objection))


def _path(name: str) -> str:
    """Return where in the object a field is, for programs; all of it where any change is meant."""
    field = parse_field(name)
    if field.container:
        return f"spec.template.spec.containers[{field.container}].resources.{field.name}"
    if name.startswith(("labels.", "annotations.")):
        return f"metadata.{name}"
    if name in RESTARTED_AT:
        return f"spec.template.metadata.annotations[{name}]"
    if name == "image" or name.startswith("env"):
        return f"spec.template.spec.containers.{name}"
    return "" if name == "*" else f"spec.{name}"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _one_line(text: str) -> str:
    """Return text fit for a warning header: one line, within its limit."""
    return escape(text, limit=_WARNING_AT_MOST)
