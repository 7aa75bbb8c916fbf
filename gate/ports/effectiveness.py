"""What past actions were worth."""

from typing import Protocol

from gate.domain.effectiveness import EffectivenessTable


class EffectivenessReader(Protocol):
    """What the assessments of past actions amount to."""

    async def list_effectiveness(self) -> EffectivenessTable:
        """Return the latest figures of each action type by alert and by kind of workload.

        Those without a lower bound are left out: nothing is known of them.
        """
        ...
