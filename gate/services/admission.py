"""One admission: read the history, decide, write the trace only if the history has not moved."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from gate.domain.actor import AgentRules, recognise
from gate.domain.decision import Advice, Decision, decide
from gate.domain.detection import Candidate
from gate.domain.message import Answer, answer_contention, answer_decision, repeat_allow
from gate.domain.pattern import Mode
from gate.domain.policy import Policy
from gate.domain.reading import Readings
from gate.domain.record import Recording, Repetition
from gate.domain.reinvocation import find_earlier, may_repeat_allow
from gate.domain.request import Request, owners_of
from gate.domain.seal import Seal
from gate.domain.trace import Trace, Verdict
from gate.domain.workload import WorkloadKey
from gate.errors import BusyHistoryError, MissingPartitionError, StorageUnavailableError
from gate.ports.histories import Histories, Question
from gate.services.case import Case, make_recording, make_trace, open_case
from gate.services.effectiveness import EffectivenessBook
from gate.services.identifiers import RANDOM_BYTES, make_action_id, time_of
from gate.services.outage import Outage, answer_failure
from gate.services.policy import PolicyBook
from gate.services.reviewed import Reviewed, Stage, describe_reviewed
from gate.services.turns import Turns

# What a last write needs before the deadline, in seconds, when the compare-and-set kept losing.
_RESERVE = 0.5
# What the local spool needs before the deadline, in seconds, when the database did not answer.
_SPOOL_RESERVE = 0.2
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Governed:
    """Whose changes are judged: the agents of one cluster."""

    cluster: str
    agents: AgentRules


@dataclass(frozen=True, slots=True)
class _Review:
    """One review under way: what is asked, the policy it is decided by, and until when."""

    case: Case
    policy: Policy
    deadline: float  # of the answer, in the loop's time

    @property
    def database_deadline(self) -> float:
        """Return until when the database may answer, so that the spool still can."""
        return self.deadline - _SPOOL_RESERVE

    @property
    def mode(self) -> Mode:
        """Return the mode that holds where no pattern has one of its own."""
        return self.policy.modes.holding_in(self.case.key.namespace)


class Admission:
    """Decides admissions and records them; safe beside any number of other replicas."""

    def __init__(
        self,
        histories: Histories,
        policies: PolicyBook,
        *,
        governed: Governed,
        effectiveness: EffectivenessBook,
        outage: Outage,
        seal: Seal,
        clock: Callable[[], datetime],
    ) -> None:
        self._histories = histories
        self._policies = policies
        self._governed = governed
        self._effectiveness = effectiveness
        self._outage = outage
        self._readings = Readings(seal)
        self._clock = clock
        # Other replicas are kept apart by the compare-and-set; within one, racing for it would only
        # cost every request its time.
        self._turns = Turns[WorkloadKey]()

    async def review(self, request: Request, *, deadline: float) -> Reviewed:
        """Decide one request and record it before the deadline, a time of the loop's clock.

        What the database cannot take is decided by the failure mode, and spooled.
        """
        policy = self._policies.latest
        actor = recognise(request.identity, self._governed.agents)
        case = (
            None
            if actor is None
            else open_case(request, actor, cluster=self._governed.cluster, readings=self._readings)
        )
        if case is None:
            mode = policy.modes.holding_in(request.namespace)
            return Reviewed(Answer(Verdict.ALLOW), mode, actor)
        review = _Review(case, policy, deadline)
        try:
            self._policies.require_read()
            return await self._review(review)
        except StorageUnavailableError as error:
            return await self._outage.decide(
                case, policy, self._new_id(), reason=str(error), deadline=deadline
            )

    def fail(self, request: Request, reason: str) -> Reviewed:
        """Answer by the failure mode where gate itself failed; nothing is recorded."""
        return answer_failure(request, self._policies.latest, reason=reason)

    async def _review(self, review: _Review) -> Reviewed:
        latest = review.deadline - _RESERVE
        if not await self._turns.take(review.case.key, latest=latest):
            return await self._give_way(review, await self._read(review))
        try:
            return await self._review_in_turn(review, latest=latest)
        finally:
            self._turns.pass_on(review.case.key)

    async def _review_in_turn(self, review: _Review, *, latest: float) -> Reviewed:
        if not await self._catch_up(review):
            return await self._give_way(review, await self._read(review))
        while True:
            candidate = await self._read(review)
            reviewed = await self._decide(review, candidate)
            if reviewed is not None:
                return reviewed
            if asyncio.get_running_loop().time() > latest:
                return await self._give_way(review, candidate)

    async def _catch_up(self, review: _Review) -> bool:
        """Have the database take what waits of this workload; False where others kept it busy."""
        try:
            await self._outage.catch_up(review.case.key, deadline=review.database_deadline)
        except BusyHistoryError:
            return False
        return True

    async def _read(self, review: _Review) -> Candidate:
        case = review.case
        action_id = self._new_id()
        now = time_of(action_id)
        question = Question(case.key, case.actor_name, case.context.correlation_id)
        history = await self._histories.read(question, now=now, deadline=review.database_deadline)
        self._outage.learn(history, now=now)
        return Candidate(
            trace=make_trace(case, history, action_id=action_id),
            change=case.change,
            history=history,
            find_owners=partial(owners_of, case.request.old),
            labels=case.label_sets,
        )

    async def _decide(self, review: _Review, candidate: Candidate) -> Reviewed | None:
        """Answer a request once, or return None where the history moved meanwhile."""
        earlier = find_earlier(candidate.history, candidate.trace)
        if earlier is not None and may_repeat_allow(candidate.history, earlier, candidate.trace):
            repeated = Decision(Verdict.ALLOW, review.mode)
            return await self._repeat(review, candidate, earlier, repeated, repeat_allow(earlier))
        decision = decide(
            candidate,
            review.policy,
            Advice(self._effectiveness.table, name_escalation=self._new_id),
        )
        is_same_denial = (
            earlier is not None
            and earlier.verdict is decision.verdict is Verdict.DENY
            and decision.asks is None
            and not earlier.decision.get("undecided")
            and not any(objection.opens for objection in decision.objections)
        )
        if earlier is not None and is_same_denial:
            answer = _answer(review.case, candidate, decision, earlier.action_id)
            return await self._repeat(review, candidate, earlier, decision, answer)
        answer = _answer(review.case, candidate, decision, candidate.trace.action_id)
        recording = make_recording(review.case, candidate, decision, warnings=answer.warnings)
        reviewed = describe_reviewed(review.case, candidate, answer, decision)
        return await self._record(review, recording, reviewed)

    async def _repeat(
        self,
        review: _Review,
        candidate: Candidate,
        earlier: Trace,
        decision: Decision,
        answer: Answer,
    ) -> Reviewed | None:
        """Answer a request that is recorded already, and count the attempt."""
        reviewed = describe_reviewed(review.case, candidate, answer, decision)
        if reviewed.action_id is None:
            return reviewed
        repetition = Repetition(
            key=review.case.key,
            expected_version=candidate.history.version,
            action_id=earlier.action_id,
            recorded_at=time_of(earlier.action_id),
            seen_at=candidate.now,
            resource_version=candidate.trace.seen.resource_version,
        )
        reviewed = replace(reviewed, action_id=earlier.action_id)
        try:
            is_written = await self._histories.record(repetition, deadline=review.database_deadline)
        except StorageUnavailableError as error:
            # The trace is on record; only that the API server asked once more is not.
            return replace(reviewed, failure=str(error), stage=Stage.UNCOUNTED)
        return reviewed if is_written else None

    async def _give_way(self, review: _Review, candidate: Candidate) -> Reviewed:
        """Answer a request that kept losing against others; its trace needs no version."""
        case, mode = review.case, review.mode
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
        reviewed = describe_reviewed(case, candidate, answer, decision)
        for _ in range(_TRIES):  # whoever makes the workload's row at this moment comes first once
            written = await self._record(review, recording, reviewed)
            if written is not None:
                return written
        return reviewed

    async def _record(
        self, review: _Review, recording: Recording, reviewed: Reviewed
    ) -> Reviewed | None:
        """Write a trace, unless this is a dry run; None where the history moved meanwhile."""
        if reviewed.action_id is None:
            return reviewed
        try:
            is_written = await self._histories.record(recording, deadline=review.database_deadline)
        except (StorageUnavailableError, MissingPartitionError) as error:
            return await self._outage.record(
                review.case,
                review.policy,
                recording,
                reviewed,
                reason=str(error),
                deadline=review.deadline,
            )
        if not is_written:
            return None
        self._outage.learn_opened(recording)
        return reviewed

    def _new_id(self) -> str:
        return make_action_id(self._clock(), secrets.token_bytes(RANDOM_BYTES))


def _answer(case: Case, candidate: Candidate, decision: Decision, action_id: str) -> Answer:
    return answer_decision(
        decision,
        case.key,
        now=candidate.now,
        action_id=None if case.request.is_dry_run else action_id,
    )
