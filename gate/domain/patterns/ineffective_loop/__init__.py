"""The same kind of change again and again, although it does not help: six rules, each by itself."""

from collections.abc import Callable

from gate.domain.detection import (
    Binding,
    Candidate,
    EvidenceKind,
    Examination,
    Finding,
    Response,
)
from gate.domain.pattern import Pattern
from gate.domain.patterns.ineffective_loop.attempts import (
    find_churn,
    find_ineffective,
    find_same_alert,
)
from gate.domain.patterns.ineffective_loop.loop import Lack, Loop, open_loop
from gate.domain.patterns.ineffective_loop.ratchet import find_ratchet
from gate.domain.patterns.ineffective_loop.restarts import find_identical
from gate.domain.patterns.ineffective_loop.returns import find_return
from gate.domain.trace import OpenDetection

_RULES: tuple[Callable[[Loop], Finding | Lack | None], ...] = (
    find_ineffective,
    find_ratchet,
    find_identical,
    find_return,
    find_same_alert,
    find_churn,
)


def examine(candidate: Candidate, pattern: Pattern) -> Examination:
    """Judge any change by each of the rules."""
    if candidate.is_stale:
        return Examination(incomplete=(Lack.STALE,))
    loop = open_loop(candidate, pattern)
    results = [result for rule in _RULES if (result := rule(loop)) is not None]
    lacks = [result for result in results if isinstance(result, Lack)]
    if loop.unconfirmed:
        lacks.append(Lack.UNCONFIRMED)
    return Examination(
        findings=tuple([result for result in results if isinstance(result, Finding)]),
        incomplete=tuple(dict.fromkeys(lacks)),
    )


def respond_to_open(
    candidate: Candidate, pattern: Pattern, detection: OpenDetection
) -> Binding | None:
    """Refuse every change of the action type that a detection binds; one of churn binds any."""
    del pattern
    is_bound = (
        detection.evidence_kind == EvidenceKind.CHURN
        or detection.action_type == candidate.trace.action_type
    )
    if not is_bound:
        return None
    return Binding(
        detection=detection,
        response=Response.REFUSE,
        summary=(
            f"{candidate.trace.action_type} while an earlier detection binds it: "
            f"{detection.summary}"
        ),
    )
