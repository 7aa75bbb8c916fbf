"""The real admission service above histories in memory."""

from collections.abc import Callable
from datetime import datetime, timedelta

from gate.domain.actor import AgentRules
from gate.domain.effectiveness import EffectivenessTable
from gate.domain.pattern import Pattern
from gate.domain.seal import Seal
from gate.policy.file import parse_policy
from gate.ports.histories import Histories
from gate.ports.policy import DeclaredModes, PolicyListing
from gate.ports.spool import Spool
from gate.services.admission import Admission, Governed
from gate.services.detections import DetectionBook
from gate.services.effectiveness import EffectivenessBook
from gate.services.outage import Outage
from gate.services.policy import PolicyBook
from gate.services.readiness import Readiness
from gate.services.spooling import SpoolKeeper
from gate.telemetry import Metrics
from tests.fakes.sources import FixedDetections, FixedEffectiveness, FixedPolicies

AGENTS = AgentRules(users=("system:serviceaccount:ai-agents:*",))
CLUSTER = "test"
SEEDED = parse_policy(b"{}", source="an empty policy").as_policy().patterns


async def make_admission(
    histories: Histories,
    *,
    clock: Callable[[], datetime],
    seal: Seal,
    patterns: tuple[Pattern, ...],
    modes: DeclaredModes,
    effectiveness: EffectivenessTable,
    spool: Spool,
    agents: AgentRules = AGENTS,
) -> Admission:
    """Return the service, its policy read and its spool open."""
    metrics, readiness = Metrics(), Readiness()
    policies = PolicyBook(
        FixedPolicies(PolicyListing(patterns, modes=modes)), metrics=metrics, readiness=readiness
    )
    await policies.run_once()
    known = EffectivenessBook(FixedEffectiveness(effectiveness))
    await known.run_once()
    keeper = SpoolKeeper(
        spool,
        histories,
        max_age=timedelta(hours=1),
        clock=clock,
        metrics=metrics,
        readiness=readiness,
    )
    await keeper.open()
    detections = DetectionBook(FixedDetections(), cluster=CLUSTER, clock=clock)
    return Admission(
        histories,
        policies,
        governed=Governed(CLUSTER, agents),
        effectiveness=known,
        outage=Outage(detections, keeper),
        seal=seal,
        clock=clock,
    )
