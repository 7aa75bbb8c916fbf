"""Cpu and memory that go up and down, and replicas and resources changed in turn."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gate.domain.alternation import examine_turns
from gate.domain.capacity import capacity_fields, field_text, resource_fields
from gate.domain.detection import (
    NOTHING,
    Binding,
    Candidate,
    EvidenceKind,
    Examination,
    Finding,
    Response,
)
from gate.domain.pattern import Pattern
from gate.domain.reversal import bind_field, examine_field
from gate.domain.trace import OpenDetection

_NAMED_AT_MOST = 4
# Weightiest first; of one kind, what is refused and what is only warned about are told apart.
_ORDER = tuple(
    (response, kind)
    for response in (Response.REFUSE, Response.WARN)
    for kind in (EvidenceKind.CONTESTED, EvidenceKind.REVERSAL, EvidenceKind.LEVER_ALTERNATION)
)


def examine(candidate: Candidate, pattern: Pattern) -> Examination:
    """Judge a change of cpu and memory field by field, and as one of the two levers.

    Fields that trip alike make one finding. A change that gives and takes is judged by what it
    takes.
    """
    changed = candidate.trace.changed
    examined = [examine_field(candidate, pattern, field) for field in resource_fields(changed)]
    if capacity_fields(changed):
        examined.append(examine_turns(candidate, pattern))
    found = [finding for each in examined for finding in each.findings]
    if not found and not any(each.incomplete for each in examined):
        return NOTHING
    alike = [
        [finding for finding in found if (finding.response, finding.evidence_kind) == sort]
        for sort in _ORDER
    ]
    return Examination(
        findings=_promise([_merge(findings) for findings in alike if findings]),
        incomplete=tuple(dict.fromkeys(reason for each in examined for reason in each.incomplete)),
    )


def respond_to_open(
    candidate: Candidate, pattern: Pattern, detection: OpenDetection
) -> Binding | None:
    """Return what an open detection asks for; None where the change is none of its business."""
    bindings = [
        binding
        for field in capacity_fields(candidate.trace.changed)
        if field_text(field) in detection.fields
        and (binding := bind_field(candidate, pattern, field, detection)) is not None
    ]
    if not bindings:
        return None
    bindings.sort(key=lambda binding: binding.response is Response.WARN)
    return bindings[0] if len(detection.fields) == 1 else replace(bindings[0], increase_up_to=None)


def _promise(findings: list[Finding]) -> tuple[Finding, ...]:
    """Let the first finding last until none stands against the change that asks for the same."""
    if not findings:
        return ()
    first, *others = findings
    ends = [finding.until for finding in findings if finding.response is first.response]
    return (replace(first, until=max(ends)), *others)


def _merge(findings: Sequence[Finding]) -> Finding:
    """Return one finding of what several fields show alike, led by the surest of them."""
    first, *others = sorted(findings, key=lambda finding: finding.confidence, reverse=True)
    if not others:
        return first
    return replace(
        first,
        fields=_unite(finding.fields for finding in (first, *others)),
        until=max(finding.until for finding in findings),
        summary=f"{first.summary}; likewise {_list([other.fields[0] for other in others])}",
        describe=lambda: {
            **first.evidence,
            "by_field": {finding.fields[0]: finding.evidence for finding in (first, *others)},
        },
        action_ids=_unite(finding.action_ids for finding in findings),
        span=max(finding.span for finding in findings),
        increase_up_to=None,
    )


def _unite(texts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for each in texts for text in each))


def _list(fields: Sequence[str]) -> str:
    named = ", ".join(fields[:_NAMED_AT_MOST])
    more = len(fields) - _NAMED_AT_MOST
    return f"{named} and {more} more" if more > 0 else named
