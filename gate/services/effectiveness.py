"""How well kinds of action have worked, in memory; admissions never wait for it."""

from gate.domain.effectiveness import EffectivenessTable
from gate.ports.effectiveness import EffectivenessReader


class EffectivenessBook:
    """Holds what was assessed, as of the last successful read; nothing before the first."""

    def __init__(self, source: EffectivenessReader) -> None:
        self._source = source
        self._table: EffectivenessTable = {}

    @property
    def table(self) -> EffectivenessTable:
        """Return what is known."""
        return self._table

    async def run_once(self) -> None:
        """Read it again; raises StorageUnavailableError, and what was known stays."""
        self._table = await self._source.list_effectiveness()
