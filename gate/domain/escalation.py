"""A decision handed to a human, and the single-use answer to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gate.domain.canonical import digest
from gate.domain.change import Change
from gate.domain.snapshot import CONTEXT_PREFIX, Part
from gate.domain.workload import WorkloadKey

_CONTEXT = f"annotations.{CONTEXT_PREFIX}"
OPEN_AT_MOST = 8  # for one workload: an agent that varies its change must not flood people


class EscalationState(StrEnum):
    """How far a decision handed to a human has come."""

    OPEN = "open"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CONSUMED = "consumed"


@dataclass(frozen=True, slots=True)
class Escalation:
    """One that is open or approved, as decisions read it back.

    `digest` binds it to one exact change; `reserved_by` is the trace that an approval let through.
    """

    id: str
    digest: str
    state: EscalationState
    expires_at: datetime
    decided_by: str | None = None
    reserved_by: str | None = None


@dataclass(frozen=True, slots=True)
class NewEscalation:
    """One to be opened, with what a person needs to decide."""

    id: str
    pattern_id: int
    digest: str
    actor: str
    change: Mapping[str, object]
    summary: str
    requested_at: datetime
    expires_at: datetime


def digest_exact(change: Change, key: WorkloadKey, *, actor: str, policy_version: str) -> str:
    """Digest what an approval is bound to: workload, change, actor and policy.

    The instant of a restart is masked, and what the agent says about its change left out: no
    attempt could ever repeat them.
    """
    values = [
        [
            part.field.container,
            part.field.name,
            *(
                ["restart"]
                if part.field.part is Part.RESTART
                else [None if side is None else side.shown for side in (part.before, part.after)]
            ),
        ]
        for part in change.fields
        if not part.field.name.startswith(_CONTEXT)
    ]
    return digest([str(key), key.cluster, change.action_type, values, actor, policy_version])
