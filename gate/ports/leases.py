"""What only one replica may do at a time."""

from datetime import timedelta
from typing import Protocol


class Leases(Protocol):
    """Leases by the clock of the database: a name is held by one at a time."""

    async def claim(self, name: str, *, holder: str, length: timedelta) -> bool:
        """Take a lease, or keep it, for so long from now; False where another holds it."""
        ...

    async def release(self, name: str, *, holder: str) -> None:
        """Give a lease back, if it is held."""
        ...
