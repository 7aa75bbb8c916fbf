"""The detections that bind, of a whole cluster, for the time when the database is away."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from gate.domain.pattern import Mode, Strategy
from gate.domain.trace import OpenDetection
from gate.domain.workload import Kind, WorkloadKey
from gate.ports.detections import KnownDetection
from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import load_statement

log = structlog.get_logger(__name__)

_LIST = load_statement("list_open_detections")
_AT_MOST = 10_000
_PATIENCE = timedelta(seconds=5)


class PostgresDetections:
    """Reads the open detections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_open_detections(self, cluster: str, *, now: datetime) -> list[KnownDetection]:
        """Return the enforced detections that bind beyond `now`, those that end last first.

        At most 10 000. Raises StorageUnavailableError where PostgreSQL does not answer within 5 s.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE.total_seconds()
        rows = await fetch(
            self._pool, _LIST, deadline=deadline, cluster=cluster, now=now, at_most=_AT_MOST
        )
        return [known for row in rows if (known := _read(row)) is not None]


def _read(row: asyncpg.Record) -> KnownDetection | None:
    """Return what a row says; one that makes no sense takes nothing from the others."""
    try:
        return KnownDetection(
            WorkloadKey(row["cluster"], row["namespace"], Kind(row["kind"]), row["name"]),
            OpenDetection(
                id=row["id"],
                pattern_id=row["pattern_id"],
                pattern_type=row["pattern_type"],
                evidence_kind=row["evidence_kind"],
                fields=tuple(map(str, row["fields"])),
                until=row["until"].astimezone(UTC),
                mode=Mode(row["mode"]),
                prevention_applied=row["prevention_applied"],
                summary=row["summary"] or "",
                strategy=Strategy(row["strategy"]),
                action_type=row["action_type"],
                actor=row["bound_actor"],
                spares=tuple(map(str, row["touched"] or ())),
            ),
        )
    except (TypeError, ValueError) as error:
        log.warning("detection.unreadable", id=row["id"], error=str(error))
        return None
