"""Effectiveness figures from PostgreSQL."""

import asyncio
from collections import defaultdict
from datetime import timedelta

from gate.domain.change import ActionType
from gate.domain.effectiveness import Effectiveness, EffectivenessScope, EffectivenessTable
from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import load_statement

_LIST = load_statement("list_effectiveness")
_PATIENCE = timedelta(seconds=5)
_KNOWN = frozenset(ActionType)


class PostgresEffectiveness:
    """Reads `action_effectiveness_metrics`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_effectiveness(self) -> EffectivenessTable:
        """Return the latest figures of each action type by alert and by kind of workload.

        Raises StorageUnavailableError when PostgreSQL does not answer within 5 s.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE.total_seconds()
        table: dict[tuple[EffectivenessScope, str], list[Effectiveness]] = defaultdict(list)
        for row in await fetch(self._pool, _LIST, deadline=deadline):
            if row["action_type"] not in _KNOWN:
                continue  # of a newer release
            scope = EffectivenessScope(row["scope_type"]), row["scope_value"]
            table[scope].append(
                Effectiveness(
                    ActionType(row["action_type"]),
                    mean=float(row["average_score"]),
                    lower=float(row["confidence_interval_lower"]),
                    sample_size=row["sample_size"],
                )
            )
        return {scope: tuple(known) for scope, known in table.items()}
