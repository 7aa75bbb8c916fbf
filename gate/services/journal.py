"""What a watch has shown of the workloads of a cluster lately, and since when without a gap."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile

from gate.domain.observation import Observation, ordinal
from gate.domain.workload import Kind, WorkloadKey
from gate.telemetry import Metrics

# Longer than a database that is away lets traces wait; nothing is kept of a workload at rest but
# its present state.
KEPT_FOR = timedelta(minutes=10)
_KEPT_AT_MOST = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One state of a workload, the one seen before it, and its number in the journal."""

    number: int
    seen: Observation
    previous: Observation | None


@dataclass(frozen=True, slots=True)
class _Continuity:
    since: datetime
    until: datetime


class Journal:
    """Takes in what a watch sees; satisfies the port `Observer`."""

    def __init__(self, *, metrics: Metrics) -> None:
        self._metrics = metrics
        self._entries: dict[WorkloadKey, deque[Entry]] = {}
        self._latest: dict[WorkloadKey, int] = {}  # numbers, in the order in which they grew
        self._continuity: dict[Kind, _Continuity] = {}
        self._forgotten_until: datetime | None = None  # of all workloads
        self._overflowed_until: dict[WorkloadKey, datetime] = {}
        self._number = 0

    @property
    def number(self) -> int:
        """Return the number of the newest entry."""
        return self._number

    def see(self, seen: Observation) -> None:
        """Take in one state of a workload; one that is known already is no news."""
        entries = self._entries.setdefault(seen.key, deque(maxlen=_KEPT_AT_MOST))
        previous = entries[-1].seen if entries else None
        if previous is None or not _is_known(seen, previous):
            self._number += 1
            self._note_overflow(entries)
            entries.append(Entry(self._number, _share(seen, previous), previous))
            self._latest.pop(seen.key, None)
            self._latest[seen.key] = self._number
        self.confirm(seen.key.kind, at=seen.at)

    def see_all(self, kind: Kind, listed: Sequence[Observation], *, at: datetime) -> None:
        """Take in all workloads of a kind, after a gap; what is not among them is gone."""
        self._continuity[kind] = _Continuity(at, at)
        self._metrics.watch_continuous_since.labels(kind).set(at.timestamp())
        present = {seen.key for seen in listed}
        missing = [
            entries[-1].seen
            for key, entries in self._entries.items()
            if key.kind is kind and key not in present and not entries[-1].seen.is_gone
        ]
        for seen in listed:
            self.see(seen)
        for seen in missing:
            self.see(replace(seen, at=at, is_gone=True, is_next=False))

    def confirm(self, kind: Kind, *, at: datetime) -> None:
        """Note that up to an instant nothing of a kind was missed."""
        known = self._continuity.get(kind)
        if known is not None:
            self._continuity[kind] = replace(known, until=max(known.until, at))

    def is_continuous(self, key: WorkloadKey, *, since: datetime, until: datetime) -> bool:
        """Tell whether all that a workload went through between two instants is here to be read."""
        known = self._continuity.get(key.kind)
        if known is None or known.since > since or known.until < until:
            return False
        lost = (self._forgotten_until, self._overflowed_until.get(key))
        return all(instant is None or instant <= since for instant in lost)

    def read(self, key: WorkloadKey, *, after: int, up_to: int) -> Iterator[Entry]:
        """Return what was seen of a workload, oldest first, with numbers in (after, up_to]."""
        return iter([e for e in self._entries.get(key, ()) if after < e.number <= up_to])

    def list_changed(self, *, after: int) -> set[WorkloadKey]:
        """Return the workloads of which something was seen since a number."""
        newest_first = reversed(self._latest.items())
        return {key for key, _ in takewhile(lambda item: item[1] > after, newest_first)}

    def prune(self, *, before: datetime) -> None:
        """Forget all but the present state of what was seen before an instant."""
        self._forgotten_until = max(before, self._forgotten_until or before)
        self._overflowed_until = {
            key: instant
            for key, instant in self._overflowed_until.items()
            if instant > self._forgotten_until
        }
        for key, entries in list(self._entries.items()):
            while len(entries) > 1 and entries[0].seen.at < before:
                entries.popleft()
            if entries[-1].seen.is_gone and entries[-1].seen.at < before:
                del self._entries[key], self._latest[key]

    def _note_overflow(self, entries: deque[Entry]) -> None:
        """Note until when nothing is known of a workload that has too many entries for one more."""
        if len(entries) == _KEPT_AT_MOST:
            lost = entries[0].seen
            known = self._overflowed_until.get(lost.key, lost.at)
            self._overflowed_until[lost.key] = max(known, lost.at)


def _is_known(seen: Observation, previous: Observation) -> bool:
    if seen.uid != previous.uid or seen.is_gone is not previous.is_gone:
        return False
    found, known = ordinal(seen.resource_version), ordinal(previous.resource_version)
    is_same = seen.resource_version == previous.resource_version
    return is_same or (seen.is_next and found is not None and known is not None and found < known)


def _share(seen: Observation, previous: Observation | None) -> Observation:
    """Return an observation that holds what is as before only once in memory."""
    if previous is None or previous.state != seen.state:
        return seen
    owners = previous.owners if previous.owners == seen.owners else seen.owners
    return replace(seen, state=previous.state, owners=owners)
