"""A replay: calls in, decided changes out, everything in between in bounded memory."""

import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from gate.domain.actor import AgentRules, recognise
from gate.domain.policy import Policy
from gate.domain.reading import Readings
from gate.domain.seal import MINIMUM_KEY_BYTES, Seal
from gate.domain.workload import WorkloadKey
from gate.replay.call import Call, Verb, mapping, name_of, text
from gate.replay.case import open_step
from gate.replay.judging import judge
from gate.replay.memory import Memory
from gate.replay.row import Row, make_row
from gate.replay.step import Gap, Step, advance
from gate.replay.workload_state import WorkloadStates
from gate.services.case import Case

_OTHERS_AT_MOST = 1000


@dataclass(slots=True)
class Counts:
    """What a replay met beside the changes it decided.

    `unknown_before` counts agents' changes of which it is not known what was there before; `gaps`
    those that could not be judged at all, by reason; `others` the changes of everybody else, by
    name; `incomplete` the rules that went without some input, by pattern and reason.
    """

    calls: int = 0
    decided: int = 0
    unknown_before: int = 0
    collections: int = 0
    gaps: Counter[Gap] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    incomplete: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Decided:
    """One decided change under every policy that is replayed, in their order."""

    rows: tuple[Row, ...]


class Replay:
    """Judges what agents changed by one policy or several, each with a memory of its own."""

    def __init__(self, policies: tuple[Policy, ...], agents: AgentRules) -> None:
        self.counts = Counts()
        self.states = WorkloadStates()
        self.memories = tuple(Memory() for _ in policies)
        self._policies = policies
        self._agents = agents
        self._readings = Readings(Seal(secrets.token_bytes(MINIMUM_KEY_BYTES)))

    @property
    def forgotten(self) -> int:
        """Return how many workloads there was no room for any more."""
        return self.states.forgotten + max(memory.forgotten for memory in self.memories)

    def take(self, call: Call) -> Iterator[Decided]:
        """Take the next call in time, and return what is decided about it."""
        self.counts.calls += 1
        for key in self._find_workloads(call):
            decided = self._take(call, key)
            if decided is not None:
                yield decided

    def _take(self, call: Call, key: WorkloadKey) -> Decided | None:
        advanced = advance(call, key, self.states.find(key))
        if advanced.known is not None:
            self.states.keep(key, advanced.known)
        if call.subresource == "status":
            return None
        actor = recognise(call.identity, self._agents)
        if actor is None:
            self._count_other(call.identity.name)
            return None
        if advanced.gap is not None:
            self.counts.gaps[advanced.gap] += 1
        if advanced.step is None:
            return None
        case = open_step(advanced.step, actor, readings=self._readings)
        return None if case is None else self._judge(advanced.step, case)

    def _judge(self, step: Step, case: Case) -> Decided:
        self.counts.decided += 1
        rows = []
        for policy, memory in zip(self._policies, self.memories, strict=True):
            judgement = judge(
                case,
                memory.read(step.key, now=step.call.at),
                policy,
                at=step.call.at,
                number=self.counts.decided,
                owner=step.writer,
                knows_labels=_knows_labels(step),
            )
            memory.take(judgement)
            rows.append(make_row(step, case, judgement))
            if policy is self._policies[0]:
                self.counts.incomplete.update(
                    (str(pattern), reason) for pattern, reason in judgement.decision.incomplete
                )
        self.counts.unknown_before += rows[0].before is None and not _is_creation(rows[0])
        return Decided(tuple(rows))

    def _find_workloads(self, call: Call) -> list[WorkloadKey]:
        """Return the workloads that a call changed: several where a collection was deleted."""
        if call.verb is not Verb.DELETE_COLLECTION:
            return [WorkloadKey("", call.namespace, call.kind, call.name)] if call.name else []
        self.counts.collections += 1
        items = mapping(call.response).get("items")
        if isinstance(items, list):
            names = (name_of(item) for item in items)
            return [WorkloadKey("", call.namespace, call.kind, name) for name in names if name]
        if not call.is_selective:
            return self.states.list_existing(call.namespace, call.kind)
        if recognise(call.identity, self._agents) is not None:
            self.counts.gaps[Gap.COLLECTION] += 1
        return []

    def _count_other(self, name: str) -> None:
        others = self.counts.others
        if name in others or len(others) < _OTHERS_AT_MOST:
            others[name] += 1


def _knows_labels(step: Step) -> bool:
    return "labels" in mapping(mapping(step.after or step.before).get("metadata")) or (
        not step.is_partial and step.call.subresource == ""
    )


def _is_creation(row: Row) -> bool:
    return text(row.action_type) == "create_workload"
