"""What is summed up and brought to its end beside admissions."""

from typing import Protocol


class Tallies(Protocol):
    """What is summed up and brought to its end beside admissions; each returns how many."""

    async def sum_detections(self) -> int:
        """Add new detections to the sums of their patterns, each exactly once."""
        ...

    async def resolve_detections(self) -> int:
        """Resolve detections that bind nobody any more."""
        ...

    async def expire_escalations(self) -> int:
        """Expire what nobody answered or used in time, and move the versions of its workloads."""
        ...
