"""What happens to a change while the database cannot judge or take it.

What is known to be refused stays refused; for the rest the failure mode decides. Either way the
trace goes to the local spool, from where the database takes it over later.
"""

from dataclasses import replace
from datetime import datetime
from functools import partial

from gate.domain.decision import Decision, decide
from gate.domain.detection import Candidate
from gate.domain.message import (
    Answer,
    answer_closed,
    answer_decision,
    answer_undecided,
    answer_unreserved,
    repeat_allow,
    warn_undecided,
    warn_unrecorded,
)
from gate.domain.pattern import Mode
from gate.domain.policy import FailureMode, Policy
from gate.domain.record import Recording
from gate.domain.reinvocation import find_earlier, may_repeat_allow
from gate.domain.request import Request, owners_of
from gate.domain.trace import ExecutionStatus, History, Trace, Verdict
from gate.domain.workload import WorkloadKey
from gate.services.case import Case, make_recording, make_trace
from gate.services.detections import DetectionBook
from gate.services.identifiers import time_of
from gate.services.reviewed import Reviewed, Stage, describe_reviewed
from gate.services.spooling import SpoolKeeper


class Outage:
    """Answers while the database is away, from what this replica has in memory and on its disk."""

    def __init__(self, detections: DetectionBook, keeper: SpoolKeeper) -> None:
        self._detections = detections
        self._keeper = keeper

    def learn(self, history: History, *, now: datetime) -> None:
        """Keep in mind what the database says is refused."""
        self._detections.learn(history, now=now)

    def learn_opened(self, recording: Recording) -> None:
        """Keep in mind what was just refused."""
        self._detections.learn_opened(recording, is_recorded=True)

    async def catch_up(self, key: WorkloadKey, *, deadline: float) -> None:
        """Let the database take what waits for it of one workload, before that is decided again.

        Raises StorageUnavailableError where it does not.
        """
        await self._keeper.flush(key, deadline=deadline)

    async def decide(
        self, case: Case, policy: Policy, action_id: str, *, reason: str, deadline: float
    ) -> Reviewed:
        """Decide without the database, and keep the trace on the disk."""
        candidate = await self._imagine(case, action_id, deadline=deadline)
        history, trace = candidate.history, candidate.trace
        earlier = find_earlier(history, trace)
        if earlier is not None and may_repeat_allow(history, earlier, trace):
            decision = Decision(Verdict.ALLOW, policy.modes.holding_in(case.key.namespace))
            return _repeat(
                case,
                candidate,
                earlier,
                decision=decision,
                answer=repeat_allow(earlier),
                reason=reason,
            )
        # Nobody is asked twice: whether a person was asked already, only the database knows.
        decision = replace(decide(candidate, policy), asks=None, asked=None)
        answer = _answer(case, candidate, decision, policy, reason)
        if earlier is not None and earlier.verdict is answer.verdict is Verdict.DENY:
            return _repeat(
                case, candidate, earlier, decision=decision, answer=answer, reason=reason
            )
        recording = make_recording(case, candidate, decision, warnings=answer.warnings)
        if answer.verdict is not decision.verdict:
            recording = _deny(recording)
        is_kept = await self._keep(case, recording, reason, deadline=deadline)
        self._detections.learn_opened(recording, is_recorded=False)
        return replace(
            describe_reviewed(
                case, candidate, warn_undecided(answer, reason, is_kept=is_kept), decision
            ),
            failure=reason,
            stage=Stage.UNDECIDED,
        )

    async def record(
        self,
        case: Case,
        policy: Policy,
        recording: Recording,
        reviewed: Reviewed,
        *,
        reason: str,
        deadline: float,
    ) -> Reviewed:
        """Keep a decided trace that the database did not confirm; it may have it all the same.

        Failure mode `closed` admits nothing that the database has not on record. Nor does any mode
        admit by an approval that may not be reserved: somebody else could use it as well.
        """
        answer, action_id = reviewed.answer, recording.trace.action_id
        if recording.reserves is not None:
            answer = answer_unreserved(case.key, reason=reason, action_id=action_id)
            recording = _deny(recording)
        elif answer.verdict is Verdict.ALLOW and _is_closed(case.key.namespace, policy):
            answer = answer_closed(case.key, reason=reason, action_id=action_id)
            recording = _deny(recording)
        is_kept = await self._keep(case, recording, reason, deadline=deadline)
        self._detections.learn_opened(recording, is_recorded=False)
        return replace(
            reviewed,
            answer=warn_unrecorded(answer, reason, is_kept=is_kept),
            failure=reason,
            stage=Stage.SPOOLED if is_kept else Stage.UNRECORDED,
        )

    async def _imagine(self, case: Case, action_id: str, *, deadline: float) -> Candidate:
        """Return the change with what of its history is known here."""
        now = time_of(action_id)
        waiting = await self._keeper.list_waiting(case.key, deadline=deadline)
        history = History(
            key=case.key,
            version=len(waiting),
            traces=tuple(
                replace(recording.trace, version=version, decision=recording.decision)
                for version, recording in enumerate(waiting, start=1)
            ),
            detections=self._detections.known(case.key, case.actor_name, now=now),
        )
        return Candidate(
            trace=make_trace(case, history, action_id=action_id),
            change=case.change,
            history=history,
            find_owners=partial(owners_of, case.request.old),
            labels=case.label_sets,
        )

    async def _keep(
        self, case: Case, recording: Recording, reason: str, *, deadline: float
    ) -> bool:
        if case.request.is_dry_run:
            return False
        marked = replace(recording, decision={**recording.decision, "outage": reason})
        return await self._keeper.append(marked, deadline=deadline) is None


def answer_failure(request: Request, policy: Policy, *, reason: str) -> Reviewed:
    """Answer by the failure mode where gate itself failed; nothing is recorded."""
    key = WorkloadKey("", request.namespace, request.kind, request.name)
    mode = policy.modes.holding_in(key.namespace)
    answer = (
        answer_closed(key, reason=reason, action_id=None)
        if _is_closed(key.namespace, policy)
        else answer_undecided(None)
    )
    answer = warn_undecided(answer, reason, is_kept=False)
    return Reviewed(answer, mode, failure=reason, stage=Stage.UNDECIDED)


def _answer(
    case: Case, candidate: Candidate, decision: Decision, policy: Policy, reason: str
) -> Answer:
    action_id = None if case.request.is_dry_run else candidate.trace.action_id
    is_refused = decision.verdict is Verdict.DENY
    if not is_refused and _is_closed(case.key.namespace, policy):
        return answer_closed(case.key, reason=reason, action_id=action_id)
    if decision.objections:
        return answer_decision(decision, case.key, now=candidate.now, action_id=action_id)
    return answer_undecided(action_id)


def _repeat(
    case: Case,
    candidate: Candidate,
    earlier: Trace,
    *,
    decision: Decision,
    reason: str,
    answer: Answer,
) -> Reviewed:
    """Answer a request again whose trace waits on the disk."""
    reviewed = describe_reviewed(case, candidate, answer, decision)
    if reviewed.action_id is not None:
        reviewed = replace(reviewed, action_id=earlier.action_id)
    return replace(reviewed, failure=reason, stage=Stage.UNCOUNTED)


def _is_closed(namespace: str, policy: Policy) -> bool:
    """Tell whether what cannot be decided is refused; audit mode refuses nothing."""
    is_enforced = policy.modes.holding_in(namespace) is Mode.ENFORCE
    return is_enforced and policy.failure_modes.holding_in(namespace) is FailureMode.CLOSED


def _deny(recording: Recording) -> Recording:
    """Return the trace of a change that was to be admitted, refused after all."""
    trace = replace(
        recording.trace, verdict=Verdict.DENY, status=ExecutionStatus.BLOCKED, approval=None
    )
    kept = {k: v for k, v in recording.decision.items() if k not in ("approval", "warnings")}
    decision = {**kept, "verdict": Verdict.DENY}
    return replace(recording, trace=trace, decision=decision, opens=(), enforces=(), reserves=None)
