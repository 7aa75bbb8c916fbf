"""What is reported of one change that was decided."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from gate.domain.trace import Verdict
from gate.replay.case import describe_sides
from gate.replay.judging import Judgement, Penalty
from gate.replay.step import Step
from gate.services.case import Case


class Disposition(IntEnum):
    """What a policy does to a change, mildest first."""

    ADMITS = 0
    WARNS = 1
    WOULD_REFUSE = 2  # in audit mode
    REFUSES = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One decided change; the names are those of the JSON output.

    `pattern`, `evidence_kind` and `strategy` are of the objection that weighs most, None where
    there is none.
    """

    time: datetime
    namespace: str
    kind: str
    name: str
    actor: str
    action_type: str
    before: object
    after: object
    verdict: Verdict
    pattern: str | None
    evidence_kind: str | None
    strategy: str | None
    penalty: Penalty | None
    retry_after_seconds: int | None
    first_of_episode: bool
    summary: str | None
    disposition: Disposition

    @property
    def workload(self) -> str:
        """Return the workload as people write it."""
        return f"{self.namespace}/{self.kind}/{self.name}"

    def as_json(self) -> dict[str, object]:
        """Return the row as programs read it; None stands for what is not known or not there."""
        return {
            "time": self.time.isoformat().replace("+00:00", "Z"),
            "namespace": self.namespace,
            "kind": self.kind,
            "name": self.name,
            "actor": self.actor,
            "action_type": self.action_type,
            "before": self.before,
            "after": self.after,
            "verdict": self.verdict,
            "pattern": self.pattern,
            "evidence_kind": self.evidence_kind,
            "strategy": self.strategy,
            "penalty": None if self.penalty is None else round(self.penalty.value, 3),
            "retry_after_seconds": self.retry_after_seconds,
            "first_of_episode": self.first_of_episode,
        }


def make_row(step: Step, case: Case, judgement: Judgement) -> Row:
    """Return the row of a judged change."""
    before, after = describe_sides(case, step)
    objections = judgement.decision.objections
    first = objections[0] if objections else None
    evidence = None
    if first is not None:
        found = first.finding
        evidence = first.bound_by[0].evidence_kind if found is None else found.evidence_kind
    wait = judgement.retry_after
    return Row(
        time=step.call.at,
        namespace=step.key.namespace,
        kind=str(step.key.kind),
        name=step.key.name,
        actor=case.actor.name,
        action_type=str(case.change.action_type),
        before=before,
        after=after,
        verdict=judgement.decision.verdict,
        pattern=None if first is None else first.pattern.name,
        evidence_kind=None if evidence is None else str(evidence),
        strategy=None if first is None else str(first.strategy),
        penalty=judgement.penalty,
        retry_after_seconds=None if wait is None else int(wait.total_seconds()),
        first_of_episode=judgement.is_first_of_episode,
        summary=None if first is None else first.summary,
        disposition=_weigh(judgement),
    )


def _weigh(judgement: Judgement) -> Disposition:
    if judgement.is_denied:
        return Disposition.REFUSES
    if judgement.refusals:
        return Disposition.WOULD_REFUSE
    return Disposition.WARNS if judgement.decision.objections else Disposition.ADMITS
