"""One admission: read the history, decide, write the trace only if the history has not moved."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from weakref import WeakValueDictionary

from gate.domain.actor import Actor, AgentRules, recognise
from gate.domain.decision import Decision, decide
from gate.domain.detection import Candidate
from gate.domain.message import (
    Answer,
    answer_contention,
    answer_decision,
    repeat_allow,
    warn_unrecorded,
)
from gate.domain.pattern import Mode, PatternType
from gate.domain.record import Repetition, Write
from gate.domain.reinvocation import find_earlier, may_repeat_allow
from gate.domain.request import Request, owners_of
from gate.domain.seal import Seal
from gate.domain.trace import Trace, Verdict
from gate.domain.workload import WorkloadKey
from gate.errors import MissingPartitionError, StorageUnavailableError
from gate.ports import Histories
from gate.services.case import Case, make_recording, make_trace, open_case
from gate.services.identifiers import RANDOM_BYTES, make_action_id, time_of
from gate.services.patterns import PatternBook

# What a last write needs before the deadline, in seconds, when the compare-and-set kept losing.
_RESERVE = 0.5


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for every admission: who is an agent, and whether gate refuses."""

    cluster: str
    agents: AgentRules
    mode: Mode


@dataclass(frozen=True, slots=True)
class Reviewed:
    """How a request was answered, for the log line and the metrics."""

    answer: Answer
    mode: Mode
    actor: Actor | None = None
    action_id: str | None = None
    action_type: str | None = None
    failure: str | None = None  # why the trace could not be written
    incomplete: tuple[tuple[PatternType, str], ...] = ()


class Admission:
    """Decides admissions and records them; safe beside any number of other replicas."""

    def __init__(
        self,
        histories: Histories,
        patterns: PatternBook,
        *,
        policy: Policy,
        seal: Seal,
        clock: Callable[[], datetime],
    ) -> None:
        self._histories = histories
        self._patterns = patterns
        self._policy = policy
        self._seal = seal
        self._clock = clock
        self._turns: WeakValueDictionary[WorkloadKey, asyncio.Lock] = WeakValueDictionary()

    async def review(self, request: Request, *, deadline: float) -> Reviewed:
        """Decide one request and record it before the deadline, a time of the loop's clock.

        Raises StorageUnavailableError where the history could not be read in time.
        """
        actor = recognise(request.identity, self._policy.agents)
        case = (
            None
            if actor is None
            else open_case(request, actor, cluster=self._policy.cluster, seal=self._seal)
        )
        if case is None:
            return Reviewed(Answer(Verdict.ALLOW), self._policy.mode, actor)
        async with self._turn(case.key, latest=deadline - _RESERVE) as has_turn:
            while True:
                candidate = await self._read(case, deadline)
                reviewed = await self._decide(case, candidate, deadline) if has_turn else None
                if reviewed is not None:
                    return reviewed
                if asyncio.get_running_loop().time() > deadline - _RESERVE:
                    return await self._give_way(case, candidate, deadline)

    @asynccontextmanager
    async def _turn(self, key: WorkloadKey, *, latest: float) -> AsyncIterator[bool]:
        """Let requests for one workload through one after another; False where it is too late.

        Other replicas are kept apart by the compare-and-set; within one, racing for it would only
        cost every request its time.
        """
        lock = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with asyncio.timeout_at(latest):
                await lock.acquire()
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    async def _read(self, case: Case, deadline: float) -> Candidate:
        now = self._clock()
        (history,) = await self._histories.read([case.key], now=now, deadline=deadline)
        action_id = make_action_id(now, secrets.token_bytes(RANDOM_BYTES))
        labels = case.labels
        return Candidate(
            trace=make_trace(case, history, action_id=action_id),
            change=case.change,
            history=history if labels is None else replace(history, labels=labels),
            owners=owners_of(case.request.old),
        )

    async def _decide(self, case: Case, candidate: Candidate, deadline: float) -> Reviewed | None:
        """Answer a request once, or return None where the history moved meanwhile."""
        earlier = find_earlier(candidate.history, candidate.trace)
        if earlier is not None and may_repeat_allow(candidate.history, earlier, candidate.trace):
            repeated = Decision(Verdict.ALLOW, self._policy.mode)
            answer = repeat_allow(earlier)
            return await self._repeat(
                case, candidate, earlier, decision=repeated, answer=answer, deadline=deadline
            )
        decision = decide(candidate, self._patterns.active, mode=self._policy.mode)
        is_same_denial = (
            earlier is not None
            and earlier.verdict is decision.verdict is Verdict.DENY
            and not any(objection.opens for objection in decision.objections)
        )
        if earlier is not None and is_same_denial:
            answer = self._answer(case, candidate, decision, earlier.action_id)
            return await self._repeat(
                case, candidate, earlier, decision=decision, answer=answer, deadline=deadline
            )
        answer = self._answer(case, candidate, decision, candidate.trace.action_id)
        recording = make_recording(case, candidate, decision, warnings=answer.warnings)
        reviewed = _reviewed(case, candidate, answer, decision)
        return await self._write(recording, reviewed, deadline)

    async def _repeat(
        self,
        case: Case,
        candidate: Candidate,
        earlier: Trace,
        *,
        decision: Decision,
        answer: Answer,
        deadline: float,
    ) -> Reviewed | None:
        """Answer a request that is recorded already, and count the attempt."""
        repetition = Repetition(
            key=case.key,
            expected_version=candidate.history.version,
            action_id=earlier.action_id,
            recorded_at=time_of(earlier.action_id),
            seen_at=candidate.now,
            resource_version=candidate.trace.seen.resource_version,
        )
        reviewed = _reviewed(case, candidate, answer, decision)
        if reviewed.action_id is not None:
            reviewed = replace(reviewed, action_id=earlier.action_id)
        return await self._write(repetition, reviewed, deadline)

    async def _give_way(self, case: Case, candidate: Candidate, deadline: float) -> Reviewed:
        """Answer a request that kept losing against others; its trace needs no version."""
        mode = self._policy.mode
        verdict = Verdict.ALLOW if mode is Mode.AUDIT else Verdict.DENY
        decision = Decision(verdict, mode)
        action_id = None if case.request.is_dry_run else candidate.trace.action_id
        answer = answer_contention(case.key, mode=mode, action_id=action_id)
        recording = make_recording(case, candidate, decision, warnings=answer.warnings)
        recording = replace(
            recording,
            expected_version=None,
            decision={**recording.decision, "contention": True},
        )
        reviewed = _reviewed(case, candidate, answer, decision)
        written = await self._write(recording, reviewed, deadline)
        return reviewed if written is None else written

    async def _write(self, write: Write, reviewed: Reviewed, deadline: float) -> Reviewed | None:
        """Write a trace, unless this is a dry run; None where the history moved meanwhile.

        What is decided stays decided when it cannot be recorded; the answer then says so.
        """
        if reviewed.action_id is None:
            return reviewed
        try:
            (is_written,) = await self._histories.record([write], deadline=deadline)
        except (StorageUnavailableError, MissingPartitionError) as error:
            answer = warn_unrecorded(reviewed.answer, str(error))
            return replace(reviewed, answer=answer, failure=str(error))
        return reviewed if is_written else None

    def _answer(
        self, case: Case, candidate: Candidate, decision: Decision, action_id: str
    ) -> Answer:
        return answer_decision(
            decision,
            case.key,
            now=candidate.now,
            action_id=None if case.request.is_dry_run else action_id,
        )


def _reviewed(case: Case, candidate: Candidate, answer: Answer, decision: Decision) -> Reviewed:
    return Reviewed(
        answer,
        mode=decision.mode,
        actor=case.actor,
        action_id=None if case.request.is_dry_run else candidate.trace.action_id,
        action_type=case.change.action_type,
        incomplete=decision.incomplete,
    )
