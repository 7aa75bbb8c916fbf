"""Histories in PostgreSQL: one statement reads them, one compares and sets their versions."""

from collections.abc import Sequence
from datetime import datetime

from gate.domain.record import Write
from gate.domain.trace import READ_AT_MOST, READ_BACK, History
from gate.domain.workload import WorkloadKey
from gate.errors import MissingPartitionError, StorageUnavailableError
from gate.postgres.failures import is_partition_missing
from gate.postgres.pool import Pool, fetch
from gate.postgres.rows import read_history
from gate.postgres.statements import load_statement
from gate.postgres.writes import arrange_keys, arrange_writes, time_of_write

_READ = load_statement("read_histories")
_WRITE = load_statement("write_traces")


class PostgresHistories:
    """Reads and writes histories; any number of replicas may do so at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(
        self, keys: Sequence[WorkloadKey], *, now: datetime, deadline: float
    ) -> list[History]:
        """Return each workload's history, in the order of the keys."""
        rows = await fetch(
            self._pool,
            _READ,
            deadline=deadline,
            since=now - READ_BACK,
            at_most=READ_AT_MOST,
            now=now,
            **arrange_keys(keys),
        )
        return [read_history(key, row) for key, row in zip(keys, rows, strict=True)]

    async def record(self, writes: Sequence[Write], *, deadline: float) -> list[bool]:
        """Write each item whose history is still at the expected version, and tell which were.

        A workload that comes several times is written once for each round of the statement.
        """
        written = [False] * len(writes)
        for round_ in _split(writes):
            ordinals = await self._write([writes[index] for index in round_], deadline)
            for ordinal in ordinals:
                written[round_[ordinal - 1]] = True
        return written

    async def _write(self, writes: Sequence[Write], deadline: float) -> list[int]:
        try:
            rows = await fetch(self._pool, _WRITE, deadline=deadline, **arrange_writes(writes))
        except StorageUnavailableError as error:
            if not is_partition_missing(error.__cause__):
                raise
            raise MissingPartitionError(_name_months(writes)) from error
        return [row["ordinal"] for row in rows]


def _split(writes: Sequence[Write]) -> list[list[int]]:
    """Return the indexes in rounds, each workload at most once in each round."""
    rounds: list[list[int]] = []
    seen: dict[WorkloadKey, int] = {}
    for index, write in enumerate(writes):
        nth = seen[write.key] = seen.get(write.key, -1) + 1
        if nth == len(rounds):
            rounds.append([])
        rounds[nth].append(index)
    return rounds


def _name_months(writes: Sequence[Write]) -> str:
    months = sorted({f"{time_of_write(write):%Y-%m}" for write in writes})
    return (
        f"no partition of resource_action_traces takes {' or '.join(months)}; gate makes them at "
        f"its start and daily, so see its log for why it could not"
    )
