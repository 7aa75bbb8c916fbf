"""How a review was answered, for the log line and the metrics."""

from dataclasses import dataclass
from enum import StrEnum

from gate.domain.actor import Actor
from gate.domain.decision import Decision
from gate.domain.detection import Candidate
from gate.domain.message import Answer
from gate.domain.pattern import Mode, PatternType
from gate.services.case import Case


class Stage(StrEnum):
    """What could not be done for a review, as counted."""

    UNDECIDED = "undecided"  # not judged by the history
    SPOOLED = "spooled"  # recorded locally, for the database to take later
    UNRECORDED = "unrecorded"  # recorded nowhere
    UNCOUNTED = "uncounted"  # on record; one more attempt at it is not


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One answer with what led to it; `failure` says why something could not be done, if so."""

    answer: Answer
    mode: Mode
    actor: Actor | None = None
    action_id: str | None = None
    action_type: str | None = None
    incomplete: tuple[tuple[PatternType, str], ...] = ()
    failure: str | None = None
    stage: Stage | None = None


def describe_reviewed(
    case: Case, candidate: Candidate, answer: Answer, decision: Decision
) -> Reviewed:
    """Return the answer with what led to it; a dry run has no action id, for nothing is kept."""
    return Reviewed(
        answer,
        mode=decision.mode,
        actor=case.actor,
        action_id=None if case.request.is_dry_run else candidate.trace.action_id,
        action_type=case.change.action_type,
        incomplete=decision.incomplete,
    )
