"""Sums and endings that nobody's admission waits for: the leader of the database sees to them."""

import structlog

from gate.ports.tallies import Tallies

log = structlog.get_logger(__name__)


class TallyKeeper:
    """Sums up detections, resolves those that are over, and expires escalations."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies

    async def run_once(self) -> int:
        """Do a batch of each, and return how many rows were brought up to date."""
        summed = await self._tallies.sum_detections()
        resolved = await self._tallies.resolve_detections()
        expired = await self._tallies.expire_escalations()
        if expired:
            log.info("escalations.expired", count=expired)
        return summed + resolved + expired
