"""Replicas that go up and down: reversals by agents, and agents undone by somebody else."""

from gate.domain.detection import NOTHING, Binding, Candidate, Examination
from gate.domain.pattern import Pattern
from gate.domain.reversal import bind_field, examine_field
from gate.domain.snapshot import REPLICAS
from gate.domain.trace import OpenDetection


def examine(candidate: Candidate, pattern: Pattern) -> Examination:
    """Judge a change of replicas by the pattern's thresholds."""
    if candidate.change.find(REPLICAS) is None:
        return NOTHING
    return examine_field(candidate, pattern, REPLICAS)


def respond_to_open(
    candidate: Candidate, pattern: Pattern, detection: OpenDetection
) -> Binding | None:
    """Return what an open detection asks for; None where the change is none of its business."""
    if candidate.change.find(REPLICAS) is None:
        return None
    return bind_field(candidate, pattern, REPLICAS, detection)
