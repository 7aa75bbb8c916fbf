"""The admission path: what decides and records a review, and what does so in an outage."""

from dataclasses import dataclass

from gate.domain.seal import Seal
from gate.ports.policy import DeclaredModes
from gate.postgres.detections import PostgresDetections
from gate.postgres.effectiveness import PostgresEffectiveness
from gate.postgres.histories import PostgresHistories
from gate.postgres.policy import PostgresPolicy
from gate.postgres.pool import Pool
from gate.services.admission import Admission, Governed
from gate.services.breaker import Breaker, GuardedHistories
from gate.services.clock import utc_now
from gate.services.detections import DetectionBook
from gate.services.effectiveness import EffectivenessBook
from gate.services.outage import Outage
from gate.services.policy import PolicyBook
from gate.services.readiness import Readiness
from gate.services.spooling import SpoolKeeper
from gate.settings.knobs import ServeSettings
from gate.spool.absent import AbsentSpool
from gate.spool.store import FileSpool
from gate.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class Pools:
    """Connections for admissions, and apart from them for everything else."""

    admissions: Pool
    general: Pool


@dataclass(frozen=True, slots=True)
class Books:
    """What admissions have in memory, read again now and then."""

    policies: PolicyBook
    detections: DetectionBook
    effectiveness: EffectivenessBook


@dataclass(frozen=True, slots=True)
class Admitting:
    """The admission path, put together."""

    admission: Admission
    books: Books
    spool: SpoolKeeper


def build_admitting(
    settings: ServeSettings,
    pools: Pools,
    *,
    governed: Governed,
    declared: DeclaredModes,
    seal: Seal,
    metrics: Metrics,
    readiness: Readiness,
) -> Admitting:
    """Put the admission path together; nothing is read or connected yet."""
    books = Books(
        policies=PolicyBook(
            PostgresPolicy(pools.general),
            metrics=metrics,
            readiness=readiness,
            mode=settings.mode,
            failure_mode=settings.failure_mode,
            declared=declared,
        ),
        detections=DetectionBook(
            PostgresDetections(pools.general), cluster=governed.cluster, clock=utc_now
        ),
        effectiveness=EffectivenessBook(PostgresEffectiveness(pools.general)),
    )
    histories = GuardedHistories(PostgresHistories(pools.admissions), Breaker(), metrics=metrics)
    spool = SpoolKeeper(
        AbsentSpool()
        if settings.spool_dir is None
        else FileSpool(settings.spool_dir, max_bytes=settings.spool_bytes),
        histories,
        max_age=settings.spool_max_age,
        clock=utc_now,
        metrics=metrics,
        readiness=readiness,
    )
    admission = Admission(
        histories,
        books.policies,
        governed=governed,
        effectiveness=books.effectiveness,
        outage=Outage(books.detections, spool),
        seal=seal,
        clock=utc_now,
    )
    return Admitting(admission, books, spool)
