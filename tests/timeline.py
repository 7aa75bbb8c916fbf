"""Scenarios in time: agents' changes go through the real service, others' are made around it."""

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from gate.domain.actor import Identity
from gate.domain.change import Operation
from gate.domain.effectiveness import EffectivenessTable
from gate.domain.pattern import Mode, Pattern, PatternType, Strategy
from gate.domain.record import Recording
from gate.domain.request import Request
from gate.domain.seal import Seal
from gate.domain.trace import Verdict
from gate.domain.workload import Kind
from gate.ports.policy import DeclaredModes
from gate.ports.spool import Spool
from gate.services.admission import Admission
from gate.services.reviewed import Reviewed
from gate.spool.absent import AbsentSpool
from tests.admissions import make_admission
from tests.edits import Edit
from tests.fakes.histories import MemoryHistories
from tests.reviews import AGENT, Body, make_body, make_scale, next_uid

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SEAL = Seal(b"a key that only the tests know, 32 bytes")
SCALE_OSCILLATION = Pattern(
    id=1,
    type=PatternType.SCALE_OSCILLATION,
    name="scale-oscillation",
    min_occurrences=3,
    window=timedelta(minutes=120),
    strategy=Strategy.COOLING_PERIOD,
    own_end=timedelta(minutes=30),
)
_NO_DEADLINE = 1e12


def minute(number: float) -> datetime:
    """Return the instant so many minutes after the start, to the millisecond as ids keep it."""
    return START + timedelta(milliseconds=round(number * 60_000))


class Outcome(StrEnum):
    """How a person would tell what became of a request."""

    ADMITTED = "admitted"
    WARNED = "warned"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """One move of replicas: by an agent, through gate, or by anybody else, past it.

    What does not persist is stopped after gate admitted it, by a quota for instance.
    """

    minute: float
    replicas: int
    by_agent: bool = True
    persists: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """The answer to one request of an agent."""

    at: datetime
    reviewed: Reviewed

    @property
    def outcome(self) -> Outcome:
        """Return how the request was answered."""
        if self.reviewed.answer.verdict is Verdict.DENY:
            return Outcome.REFUSED
        return Outcome.WARNED if self.reviewed.answer.warnings else Outcome.ADMITTED

    @property
    def until(self) -> datetime:
        """Return the instant that a person reads in the refusal or in the first warning."""
        answer = self.reviewed.answer
        words = answer.message or answer.warnings[0]
        found = re.search(r"(?:is admitted from|is refused until) (\S+Z)", words)
        assert found is not None, words
        return datetime.fromisoformat(found[1])


@dataclass(slots=True)
class Clock:
    """A clock that only tests move, in any direction."""

    now: datetime = START

    def __call__(self) -> datetime:
        """Return the present."""
        return self.now


@dataclass(slots=True)
class Timeline:
    """A workload that agents change through gate and others change directly."""

    admission: Admission
    histories: MemoryHistories
    clock: Clock
    body: Body
    subresource: str = ""
    deadline: float = _NO_DEADLINE
    events: list[Event] = field(default_factory=list)
    _last_version: int = 1000

    @property
    def replicas(self) -> Any:
        """Return the replicas that are stored now."""
        return self.body["spec"]["replicas"]

    @property
    def recordings(self) -> list[Recording]:
        """Return what was written as new traces."""
        return self.histories.recordings

    async def play(self, steps: Iterable[Step]) -> list[Event]:
        """Make some moves, each at its minute, and return the answers to the agents' ones."""
        before = len(self.events)
        for step in steps:
            if step.by_agent:
                await self.scale(step.replicas, at=minute(step.minute), persists=step.persists)
            else:
                self.move(step.replicas)
        return self.events[before:]

    async def scale(
        self,
        replicas: int,
        *,
        at: datetime,
        persists: bool = True,
        is_dry_run: bool = False,
        user: str = AGENT,
    ) -> Event:
        """Let an agent change replicas, on the object or on `/scale`."""
        shown = make_scale if self.subresource else copy.deepcopy
        new = shown(self.body)
        new["spec"]["replicas"] = replicas
        if not self.subresource:
            new["metadata"]["generation"] += replicas != self.replicas
        request = make_request(
            Operation.UPDATE,
            old=shown(self.body),
            new=new,
            subresource=self.subresource,
            is_dry_run=is_dry_run,
            user=user,
        )
        event = await self.review(request, at=at)
        if event.outcome is not Outcome.REFUSED and persists and not is_dry_run:
            self.move(replicas)
        return event

    async def apply(
        self, edit: Edit, *, at: datetime, user: str = AGENT, persists: bool = True
    ) -> Event:
        """Let an agent make an edit of the object."""
        old, new = copy.deepcopy(self.body), copy.deepcopy(self.body)
        edit(new)
        new["metadata"]["generation"] += _bumps_generation(old, new)
        request = make_request(Operation.UPDATE, old=old, new=new, user=user)
        event = await self.review(request, at=at)
        if event.outcome is not Outcome.REFUSED and persists:
            self.body = copy.deepcopy(new)
            self._bump()
        return event

    def let_others(self, edit: Edit) -> None:
        """Let somebody who is no agent make an edit, past gate."""
        before = copy.deepcopy(self.body)
        edit(self.body)
        self.body["metadata"]["generation"] += _bumps_generation(before, self.body)
        self._bump()

    async def edit(self, changed: Body, *, at: datetime) -> Event:
        """Let an agent replace the object by one with the same replicas."""
        old = copy.deepcopy(self.body)
        event = await self.review(make_request(Operation.UPDATE, old=old, new=changed), at=at)
        if event.outcome is not Outcome.REFUSED:
            self.body = copy.deepcopy(changed)
            self._bump()
        return event

    async def delete(self, *, at: datetime) -> Event:
        """Let an agent delete the workload."""
        old = copy.deepcopy(self.body)
        return await self.review(make_request(Operation.DELETE, old=old, new=None), at=at)

    async def create(self, replicas: int, *, at: datetime) -> Event:
        """Let an agent create the workload anew, as another incarnation."""
        new = copy.deepcopy(self.body)
        new["metadata"] |= {"uid": next_uid(), "generation": 1}
        del new["metadata"]["resourceVersion"]
        new["spec"]["replicas"] = replicas
        event = await self.review(make_request(Operation.CREATE, old=None, new=new), at=at)
        if event.outcome is not Outcome.REFUSED:
            self.body = new
            self._bump()
        return event

    async def review(self, request: Request, *, at: datetime) -> Event:
        """Put one request to gate and keep the answer."""
        self.clock.now = at
        event = Event(at, await self.admission.review(request, deadline=self.deadline))
        self.events.append(event)
        return event

    def move(self, replicas: int) -> None:
        """Store other replicas, as a change does that takes effect."""
        self.body["metadata"]["generation"] += replicas != self.replicas
        self.body["spec"]["replicas"] = replicas
        self._bump()

    def _bump(self) -> None:
        self._last_version += 1
        self.body["metadata"]["resourceVersion"] = str(self._last_version)


def _bumps_generation(old: Body, new: Body) -> bool:
    """Tell what the API server bumps the generation for: a Deployment's annotations count too."""
    if old["spec"] != new["spec"]:
        return True
    annotations = [body["metadata"].get("annotations", {}) for body in (old, new)]
    return bool(old["kind"] == "Deployment" and annotations[0] != annotations[1])


async def start_timeline(
    *,
    replicas: int = 3,
    kind: Kind = Kind.DEPLOYMENT,
    patterns: tuple[Pattern, ...] = (SCALE_OSCILLATION,),
    mode: Mode = Mode.ENFORCE,
    modes: DeclaredModes | None = None,
    subresource: str = "",
    histories: MemoryHistories | None = None,
    effectiveness: EffectivenessTable | None = None,
    spool: Spool | None = None,
) -> Timeline:
    """Return a workload with these replicas, watched by the patterns."""
    kept = histories or MemoryHistories({pattern.id: pattern.type for pattern in patterns})
    clock = Clock()
    admission = await make_admission(
        kept,
        clock=clock,
        seal=SEAL,
        patterns=patterns,
        modes=modes or DeclaredModes(mode=mode),
        effectiveness=effectiveness or {},
        spool=spool or AbsentSpool(),
    )
    return Timeline(admission, kept, clock, make_body(kind, replicas=replicas), subresource)


def make_request(
    operation: Operation,
    *,
    old: Body | None,
    new: Body | None,
    subresource: str = "",
    is_dry_run: bool = False,
    user: str = AGENT,
    uid: str | None = None,
) -> Request:
    """Return an agent's request with a fresh uid."""
    latest = new or old or {}
    kind = latest["kind"] if latest["kind"] != "Scale" else Kind.DEPLOYMENT
    return Request(
        uid=uid or next_uid(),
        operation=operation,
        namespace=latest["metadata"]["namespace"],
        kind=Kind(kind),
        name=latest["metadata"]["name"],
        subresource=subresource,
        identity=Identity(user),
        is_dry_run=is_dry_run,
        old=old,
        new=new,
    )


def first_minute(events: Iterable[Event], outcome: Outcome) -> float | None:
    """Return the minute of the first event with an outcome."""
    found = (event.at for event in events if event.outcome is outcome)
    first = next(found, None)
    return None if first is None else (first - START) / timedelta(minutes=1)
