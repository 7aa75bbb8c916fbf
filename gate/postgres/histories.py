"""Histories in PostgreSQL: one statement reads them, one compares and sets their versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gate.domain.record import Recording, Write
from gate.domain.trace import (
    COOLINGS_AT_MOST,
    NEARBY_AT_MOST,
    NEARBY_BACK,
    READ_AT_MOST,
    READ_BACK,
    History,
)
from gate.errors import MissingPartitionError, StorageUnavailableError, UnusableRecordError
from gate.ports.histories import Question
from gate.postgres.batching import Batches
from gate.postgres.failures import is_duplicate, is_partition_missing
from gate.postgres.pool import Pool, fetch
from gate.postgres.rows import Surroundings, read_history, read_surroundings
from gate.postgres.statements import load_statement
from gate.postgres.writes import (
    arrange_correction,
    arrange_questions,
    arrange_writes,
    surroundings_key,
    time_of_write,
)

_READ = load_statement("read_histories")
_WRITE = load_statement("write_traces")
_CORRECT = load_statement("correct_trace")


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    now: datetime


class PostgresHistories:
    """Reads and writes histories; any number of replicas may do so at once.

    Of reads and of writes two statements run at once, for all that came meanwhile.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._reads = Batches(self._read_all)
        self._writes = Batches(self._write_all, turn_of=lambda write: write.key)

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        """Return a workload's history."""
        return await self._reads.submit(_Asked(question, now), deadline=deadline)

    async def record(self, write: Write, *, deadline: float) -> bool:
        """Write where the history is still at the expected version, and tell whether it was."""
        if isinstance(write, Recording) and write.spooled_at is not None:
            return await self._record_spooled(write, deadline)
        return await self._writes.submit(write, deadline=deadline)

    async def _record_spooled(self, recording: Recording, deadline: float) -> bool:
        if await self._correct(recording, deadline):
            return True
        try:
            return await self._writes.submit(recording, deadline=deadline)
        except UnusableRecordError as error:
            # An earlier attempt, given up here, may have been committed while this one waited.
            if is_duplicate(error.__cause__) and await self._correct(recording, deadline):
                return True
            raise

    async def _read_all(
        self, asked: Sequence[_Asked], deadline: float
    ) -> list[History | Exception]:
        questions = [each.question for each in asked]
        now = min(each.now for each in asked)
        rows = await fetch(
            self._pool,
            _READ,
            deadline=deadline,
            now=now,
            since=now - READ_BACK,
            at_most=READ_AT_MOST,
            coolings_at_most=COOLINGS_AT_MOST,
            nearby_since=now - NEARBY_BACK,
            nearby_at_most=NEARBY_AT_MOST,
            **arrange_questions(questions),
        )
        around: dict[object, Surroundings] = {}
        answers: list[History | Exception] = []
        for each, row in zip(asked, rows, strict=True):
            question, key = each.question, surroundings_key(each.question)
            try:
                if key not in around:
                    around[key] = read_surroundings(question.key, row)
                answers.append(read_history(question.key, row, now=each.now, around=around[key]))
            except StorageUnavailableError as error:
                answers.append(error)
        return answers

    async def _write_all(self, writes: Sequence[Write], deadline: float) -> list[bool]:
        try:
            rows = await fetch(self._pool, _WRITE, deadline=deadline, **arrange_writes(writes))
        except StorageUnavailableError as error:
            if not is_partition_missing(error.__cause__):
                raise
            raise MissingPartitionError(_name_months(writes)) from error
        written = {row["ordinal"] for row in rows}
        return [ordinal in written for ordinal in range(1, len(writes) + 1)]

    async def _correct(self, recording: Recording, deadline: float) -> bool:
        """Make a trace that is recorded already say what was answered; tell whether it is."""
        (row,) = await fetch(
            self._pool, _CORRECT, deadline=deadline, **arrange_correction(recording)
        )
        return bool(row["is_recorded"])


def _name_months(writes: Sequence[Write]) -> str:
    months = sorted({f"{time_of_write(write):%Y-%m}" for write in writes})
    return (
        f"no partition of resource_action_traces takes {' or '.join(months)}; gate makes them at "
        f"its start and daily, so see its log for why it could not"
    )
