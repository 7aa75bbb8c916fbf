"""What became of admitted changes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from gate.domain.outcome import Awaited, AwaitedChanges


class Outcomes(Protocol):
    """Admitted changes on record, and what became of them."""

    async def list_awaited(
        self, cluster: str, *, since: datetime, completed_since: datetime, at_most: int
    ) -> AwaitedChanges:
        """Return the changes since an instant whose outcome may still change, oldest first.

        Completed ones may still be undone; they reach back to `completed_since` only. At most
        `at_most` of them, the newest, and as many that are not settled, the oldest.
        """
        ...

    async def mark(self, changes: Sequence[Awaited]) -> set[str]:
        """Write outcomes where nobody else has, and return the ids of those written.

        An approval is used up by a change that is there, and freed by one that was not persisted.
        """
        ...
