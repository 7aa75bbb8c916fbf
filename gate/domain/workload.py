"""The governed object: a Deployment or StatefulSet, known by its key."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds gate governs."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"


@dataclass(frozen=True, slots=True, order=True)
class WorkloadKey:
    """What identifies a workload for detection, through deletion and re-creation."""

    cluster: str
    namespace: str
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"
