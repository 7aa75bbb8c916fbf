"""Outcomes of admitted changes: those that are awaited, and what became of them."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import structlog

from gate.domain.change import Operation
from gate.domain.outcome import Awaited, AwaitedChanges, Outcome
from gate.domain.trace import ExecutionStatus
from gate.domain.workload import Kind, WorkloadKey
from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import load_statement

log = structlog.get_logger(__name__)

_LIST = load_statement("list_awaited")
_MARK = load_statement("mark_outcomes")
_PATIENCE = timedelta(seconds=10)
_AT_ONCE = 64
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST = 2**31 - 1  # milliseconds


class PostgresOutcomes:
    """Reads awaited changes and writes outcomes; any number of replicas may do so at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_awaited(
        self, cluster: str, *, since: datetime, completed_since: datetime, at_most: int
    ) -> AwaitedChanges:
        """Return the changes since an instant whose outcome may still change, oldest first.

        Raises StorageUnavailableError when PostgreSQL does not answer within 10 s.
        """
        rows = await fetch(
            self._pool,
            _LIST,
            deadline=_deadline(),
            cluster=cluster,
            since=since,
            completed_since=completed_since,
            at_most=at_most,
        )
        read = (_read(cluster, row) for row in rows)
        completed = sum(row["execution_status"] == ExecutionStatus.COMPLETED for row in rows)
        return AwaitedChanges(
            [change for change in read if change is not None],
            is_cut=max(completed, len(rows) - completed) >= at_most,
        )

    async def mark(self, changes: Sequence[Awaited]) -> set[str]:
        """Write outcomes where nobody else has, and return the ids of those written.

        Raises StorageUnavailableError when PostgreSQL does not answer within 10 s.
        """
        marked: set[str] = set()
        for start in range(0, len(changes), _AT_ONCE):
            arguments = _arrange(changes[start : start + _AT_ONCE])
            rows = await fetch(self._pool, _MARK, deadline=_deadline(), **arguments)
            marked |= {str(row["action_id"]) for row in rows}
        return marked


def _deadline() -> float:
    return asyncio.get_running_loop().time() + _PATIENCE.total_seconds()


def _read(cluster: str, row: asyncpg.Record) -> Awaited | None:
    """Return a change; one that a newer release wrote in its own words is left to that."""
    try:
        return Awaited(
            action_id=str(row["action_id"]),
            key=WorkloadKey(cluster, row["namespace"], Kind(row["kind"]), row["name"]),
            version=row["version"],
            at=row["action_timestamp"],
            actor=row["actor"],
            operation=Operation(row["operation"]),
            uid=row["resource_uid"],
            resource_version=row["old_resource_version"],
            base=row["old_generation"],
            before=row["resource_state_before"],
            after=row["resource_state_after"],
            outcome=Outcome(
                status=ExecutionStatus(row["execution_status"]),
                generation=row["observed_generation"],
                started_at=row["execution_start_time"],
                ended_at=row["execution_end_time"],
                state=row["observed_state"],
            ),
        )
    except ValueError as error:
        log.warning("outcome.unreadable", action_id=str(row["action_id"]), error=str(error))
        return None


def _arrange(changes: Sequence[Awaited]) -> dict[str, object]:
    outcomes = [change.outcome for change in changes]
    undoings = [outcome.undoing for outcome in outcomes]
    return {
        "count": len(changes),
        "action_ids": [change.action_id for change in changes],
        "recorded_at": [change.at for change in changes],
        "expected": [_expected(outcome) for outcome in outcomes],
        "statuses": [str(outcome.status) for outcome in outcomes],
        "errors": [outcome.error for outcome in outcomes],
        "started_at": [outcome.started_at for outcome in outcomes],
        "ended_at": [outcome.ended_at for outcome in outcomes],
        "durations_ms": [_milliseconds(outcome.duration) for outcome in outcomes],
        "generations": [outcome.generation for outcome in outcomes],
        "states": [outcome.state for outcome in outcomes],
        "follow_ups": [None if undoing is None else undoing.as_json() for undoing in undoings],
    }


def _expected(outcome: Outcome) -> str:
    """Return the statuses that a trace may have for this outcome to be news."""
    if outcome.undoing is not None:
        return "pending executing completed"
    return "pending" if outcome.status is ExecutionStatus.EXECUTING else "pending executing"


def _milliseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else min(round(duration / _MILLISECOND), _LONGEST)
