"""What the books of a replica read, given by the test."""

from dataclasses import dataclass, field
from datetime import datetime

from gate.domain.effectiveness import EffectivenessTable
from gate.ports.detections import KnownDetection
from gate.ports.policy import PolicyListing


@dataclass(slots=True)
class FixedPolicies:
    """Satisfies `PolicySource` with what it is given."""

    listing: PolicyListing

    async def read(self) -> PolicyListing:
        """Return what was given."""
        return self.listing


@dataclass(slots=True)
class FixedEffectiveness:
    """Satisfies `EffectivenessReader` with what it is given."""

    table: EffectivenessTable = field(default_factory=dict)

    async def list_effectiveness(self) -> EffectivenessTable:
        """Return what was given."""
        return self.table


@dataclass(slots=True)
class FixedDetections:
    """Satisfies `Detections` with what it is given; by default nothing binds yet."""

    known: list[KnownDetection] = field(default_factory=list)

    async def list_open_detections(self, cluster: str, *, now: datetime) -> list[KnownDetection]:
        """Return what was given and still binds."""
        del cluster
        return [each for each in self.known if each.detection.until > now]
