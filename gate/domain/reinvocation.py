"""The same user request seen again: the API server calls a webhook several times for one write."""

from datetime import timedelta

from gate.domain.change import ActionType
from gate.domain.corroboration import RACING, SETTLING, Effect, judge_effects
from gate.domain.trace import ExecutionStatus, History, Trace, Verdict

_UNGENERATED = (ActionType.UPDATE_METADATA, ActionType.CREATE_WORKLOAD)


def find_earlier(history: History, candidate: Trace) -> Trace | None:
    """Return the trace of the same user request, if one is recorded already.

    A redelivery carries the same uid. A re-invocation carries a new one and is told by equal
    workload, operation, subresource, actor, old and new values within 40 s, on the same generation
    of the same object; where there is none (a Scale, metadata, a creation), on the same
    resourceVersion or within 2 s.
    """
    for trace in reversed(history.traces):
        if trace.request_uid == candidate.request_uid or _is_reinvocation(trace, candidate):
            return trace
    return None


def may_repeat_allow(history: History, earlier: Trace, candidate: Trace) -> bool:
    """Tell whether an ALLOW may be answered again: the change is not known to have taken effect."""
    if earlier.verdict is not Verdict.ALLOW:
        return False
    if earlier.request_uid == candidate.request_uid:
        return True
    if earlier.status is not ExecutionStatus.PENDING:
        return False
    later = history.traces[history.traces.index(earlier) + 1 :]
    if any(trace.seen.state == earlier.state_after for trace in later):
        return False
    effects = judge_effects(history.traces, None, candidate=candidate)
    return all(effect is not Effect.TOOK for trace, effect in effects if trace is earlier)


def _is_reinvocation(trace: Trace, candidate: Trace) -> bool:
    if trace.request_fingerprint != candidate.request_fingerprint:
        return False
    age = max(candidate.seen.at - trace.seen.at, timedelta(0))
    if age >= SETTLING:
        return False
    if candidate.seen.generation is None or candidate.action_type in _UNGENERATED:
        version = candidate.seen.resource_version
        is_same = version is not None and version == trace.seen.resource_version
        return is_same or age < RACING
    return (candidate.seen.uid, candidate.seen.generation) == (
        trace.seen.uid,
        trace.seen.generation,
    )
