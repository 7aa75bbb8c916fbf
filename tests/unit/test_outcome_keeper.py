"""The keeper of outcomes: what it looks for, when it reads, and who writes first."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate.domain.observation import Observation
from gate.domain.outcome import Awaited, AwaitedChanges, Outcome
from gate.domain.trace import ExecutionStatus
from gate.domain.undoing import Undoing
from gate.domain.workload import Kind, WorkloadKey
from gate.errors import ClusterError, StorageUnavailableError
from gate.services.journal import Journal
from gate.services.outcomes import OutcomeKeeper
from gate.telemetry import Metrics
from tests.unit.observations import KEY, NOW, SECOND, change, describe, scaled, see

PENDING, COMPLETED = ExecutionStatus.PENDING, ExecutionStatus.COMPLETED
FAILED, ROLLED_BACK = ExecutionStatus.FAILED, ExecutionStatus.ROLLED_BACK
BEFORE = see(describe(5), generation=7, resource_version=100, second=-1)


class MemoryOutcomes:
    """Satisfies `Outcomes` without a database; what is in `busy` cannot be written just now."""

    def __init__(self, *changes: Awaited) -> None:
        self.changes = {change.action_id: change for change in changes}
        self.looks: list[datetime] = []
        self.busy: set[str] = set()
        self.is_away = False
        self.at_most = 100

    async def list_awaited(
        self, cluster: str, *, since: datetime, completed_since: datetime, at_most: int
    ) -> AwaitedChanges:
        del cluster, completed_since, at_most
        if self.is_away:
            raise StorageUnavailableError("away")
        self.looks.append(since)
        found = [c for c in self.changes.values() if c.at >= since and not c.is_settled]
        found.sort(key=lambda change: change.at)
        return AwaitedChanges(found[: self.at_most], is_cut=len(found) >= self.at_most)

    async def mark(self, changes: Sequence[Awaited]) -> set[str]:
        if self.is_away:
            raise StorageUnavailableError("away")
        written = {change.action_id for change in changes} - self.busy
        for each in changes:
            if each.action_id in written:
                known = self.changes[each.action_id]
                self.changes[each.action_id] = replace(known, outcome=each.outcome)
        return written

    def outcome(self, number: int = 1) -> Outcome:
        change = self.changes.get(f"trace {number}")
        return Outcome() if change is None else change.outcome


class Workloads:
    """Satisfies `WorkloadReader`; None is no object, an exception is raised."""

    def __init__(self) -> None:
        self.found: Observation | ClusterError | None = BEFORE
        self.reads = 0

    async def read(self, key: WorkloadKey) -> Observation | None:
        assert key.namespace == KEY.namespace
        self.reads += 1
        if isinstance(self.found, ClusterError):
            raise self.found
        return self.found


class Bench:
    """A keeper with everything around it in memory, and a clock that moves when told."""

    def __init__(self, *changes: Awaited) -> None:
        self.outcomes = MemoryOutcomes(*changes)
        self.workloads = Workloads()
        self.metrics = Metrics()
        self.wall = NOW
        self.timer = 0.0
        self.start_over()

    def start_over(self) -> None:
        """Begin as another leader does, who knows nothing."""
        self.journal = Journal(metrics=self.metrics)
        self.keeper = OutcomeKeeper(
            self.outcomes,
            self.workloads,
            journal=self.journal,
            cluster="prod",
            clock=lambda: self.wall,
            timer=lambda: self.timer,
            metrics=self.metrics,
        )

    async def run(self, *states: Observation, after: timedelta = SECOND) -> Outcome:
        """Let states be seen and time pass, and return the outcome of the first change."""
        for state in states:
            self.journal.see(state)
        self.wall += after
        self.timer += after.total_seconds()
        await self.keeper.run_once()
        return self.outcomes.outcome()


async def test_a_change_seen_before_it_was_looked_for_is_told() -> None:
    bench = Bench(scaled(5, 3))

    outcome = await bench.run(BEFORE, see(describe(3), generation=8))

    assert (outcome.status, outcome.started_at) == (COMPLETED, NOW + SECOND)


async def test_a_change_seen_after_it_was_looked_for_is_told() -> None:
    bench = Bench(scaled(5, 3))

    assert (await bench.run(BEFORE)).status is PENDING
    assert (await bench.run(see(describe(3), generation=8))).status is COMPLETED


async def test_silence_tells_nothing_before_45_seconds_nor_without_a_look_at_the_object() -> None:
    bench = Bench(scaled(5, 3))
    bench.workloads.found = ClusterError("unreachable")
    await bench.run(BEFORE)

    assert (await bench.run(after=44 * SECOND)).status is PENDING
    assert bench.workloads.reads == 0
    assert (await bench.run(after=6 * SECOND)).status is PENDING
    assert bench.workloads.reads == 1

    bench.workloads.found = BEFORE
    assert (await bench.run(after=70 * SECOND)).status is FAILED


async def test_a_clock_that_is_set_forward_hastens_no_verdict() -> None:
    bench = Bench(scaled(5, 3))
    await bench.run(BEFORE)
    bench.wall += timedelta(minutes=5)

    assert (await bench.run()).status is PENDING
    assert bench.workloads.reads == 0


async def test_an_object_that_tells_nothing_is_read_more_and_more_seldom() -> None:
    bench = Bench(scaled(5, 3))
    bench.workloads.found = see(describe(9), generation=20, resource_version=500)

    for _ in range(60):
        await bench.run(after=60 * SECOND)

    assert 4 <= bench.workloads.reads <= 8
    assert bench.outcomes.outcome().status is PENDING


async def test_a_new_leader_takes_up_what_is_a_day_old_and_what_was_under_way() -> None:
    bench = Bench(scaled(5, 3))
    await bench.run(BEFORE, see(describe(3), generation=8, ready=1))
    assert bench.outcomes.outcome().status is ExecutionStatus.EXECUTING
    bench.start_over()

    finished = see(describe(3), generation=8, resource_version=120, second=9, is_next=False)
    outcome = await bench.run(finished)

    assert (outcome.status, outcome.started_at, outcome.ended_at) == (
        COMPLETED,
        NOW + SECOND,
        None,
    )
    assert bench.outcomes.looks[-1] == bench.wall - timedelta(hours=24)


async def test_looks_go_back_a_little_and_now_and_then_a_day() -> None:
    bench = Bench()

    for number in range(70):
        await bench.run(replace(BEFORE, resource_version=str(200 + number)))

    spans = [bench.wall - since for since in bench.outcomes.looks]
    far = [span for span in spans if span > timedelta(hours=23)]
    assert len(far) == 2
    assert all(span < timedelta(minutes=4) for span in spans if span not in far)


async def test_what_a_list_that_was_cut_lacks_is_followed_on_and_counted() -> None:
    older = [
        replace(scaled(5, 3, version=number), at=NOW - timedelta(hours=1)) for number in (2, 3)
    ]
    bench = Bench(scaled(5, 3))
    bench.workloads.found = ClusterError("unreachable")
    await bench.run(BEFORE)
    for late in older:  # as from a spool
        bench.outcomes.changes[late.action_id] = replace(late, key=replace(KEY, name="old"))
    bench.outcomes.at_most = 2

    await bench.run(after=300 * SECOND)
    outcome = await bench.run(see(describe(3), generation=8))

    assert outcome.status is COMPLETED
    (samples,) = bench.metrics.outcomes_truncated.collect()
    assert samples.samples[0].value >= 1


async def test_what_is_a_day_old_is_given_up_although_the_list_was_cut() -> None:
    bench = Bench(scaled(5, 3))
    bench.workloads.found = ClusterError("unreachable")
    await bench.run(BEFORE)
    bench.outcomes.at_most = 0

    await bench.run(after=timedelta(hours=25))
    await bench.run(see(describe(3), generation=8))

    assert bench.outcomes.outcome().status is PENDING


async def test_nothing_seen_and_nothing_awaited_is_looked_for_seldom() -> None:
    bench = Bench()

    for _ in range(30):
        await bench.run()

    assert len(bench.outcomes.looks) <= 8


async def test_a_database_that_is_away_loses_nothing() -> None:
    bench = Bench(scaled(5, 3))
    bench.outcomes.is_away = True
    for state in (BEFORE, see(describe(3), generation=8), see(describe(9), generation=9)):
        bench.journal.see(state)
        with pytest.raises(StorageUnavailableError):
            await bench.run()
    bench.outcomes.is_away = False

    outcome = await bench.run()

    assert outcome.started_at == NOW + SECOND


async def test_what_cannot_be_written_now_is_written_next_time() -> None:
    bench = Bench(scaled(5, 3))
    bench.outcomes.busy = {"trace 1"}
    assert (await bench.run(BEFORE, see(describe(3), generation=8))).status is PENDING
    bench.outcomes.busy = set()

    assert (await bench.run()).status is COMPLETED


async def test_a_request_asked_about_again_is_judged_by_what_it_saw_last() -> None:
    bench = Bench(change({"replicas": 5}, {"replicas": 3}, base=None, resource_version="90"))
    await bench.run()
    bench.outcomes.changes["trace 1"] = replace(
        bench.outcomes.changes["trace 1"], resource_version="100"
    )

    outcome = await bench.run(BEFORE, see(describe(9), generation=8), after=6 * SECOND)

    assert outcome.status is FAILED


async def test_what_another_leader_wrote_first_stands() -> None:
    bench = Bench(scaled(5, 8))
    await bench.run(BEFORE, see(describe(8), generation=8))
    undone = Undoing(at=NOW, items=(("", "replicas"),), is_whole=True, by="argocd")
    theirs = replace(bench.outcomes.outcome(), status=ROLLED_BACK, undoing=undone)
    bench.outcomes.changes["trace 1"] = replace(scaled(5, 8), outcome=theirs)

    await bench.run(after=120 * SECOND)

    assert bench.outcomes.outcome() == theirs


async def test_where_leaders_disagree_the_first_to_write_is_right_and_nobody_insists() -> None:
    bench = Bench(scaled(5, 3))
    theirs = Outcome(COMPLETED, generation=8, started_at=NOW)
    bench.outcomes.busy = {"trace 1"}
    await bench.run(BEFORE, see(describe(9), generation=8))
    bench.outcomes.changes["trace 1"] = replace(scaled(5, 3), outcome=theirs)
    bench.outcomes.busy = set()

    await bench.run()
    await bench.run()

    assert bench.outcomes.outcome() == theirs


async def test_a_completed_change_that_is_undone_is_rolled_back() -> None:
    bench = Bench(scaled(5, 8))
    await bench.run(BEFORE, see(describe(8), generation=8))
    owners = {("", "replicas"): "argocd-controller"}
    back = see(describe(5), generation=9, resource_version=102, owners=owners)

    outcome = await bench.run(back)

    assert outcome.status is ROLLED_BACK
    assert outcome.undoing is not None
    assert outcome.undoing.by == "argocd-controller"


async def test_a_creation_never_seen_failed_only_where_nothing_was_missed() -> None:
    created = change(None, describe(5))
    for since, expected in ((-60, FAILED), (30, PENDING)):
        bench = Bench(created)
        bench.workloads.found = None
        bench.journal.see_all(Kind.DEPLOYMENT, [], at=NOW + since * SECOND)
        await bench.run()
        bench.journal.confirm(Kind.DEPLOYMENT, at=NOW + 60 * SECOND)

        assert (await bench.run(after=50 * SECOND)).status is expected


async def test_what_the_journal_forgot_is_not_taken_for_what_was_never_there() -> None:
    bench = Bench(change(None, describe(5)))
    bench.workloads.found = None
    bench.journal.see_all(Kind.DEPLOYMENT, [], at=NOW - 60 * SECOND)
    created = see(describe(5), generation=1, second=1)
    bench.journal.see(created)
    bench.journal.see(replace(created, at=NOW + timedelta(minutes=30), is_gone=True))
    bench.wall = NOW + timedelta(minutes=60)
    await bench.run()
    bench.journal.confirm(Kind.DEPLOYMENT, at=NOW + timedelta(minutes=62))

    assert (await bench.run(after=50 * SECOND)).status is PENDING
    assert bench.workloads.reads == 1


def complete_since(journal: Journal, second: float, *, name: str = "web") -> bool:
    key = replace(KEY, name=name)
    until = NOW + timedelta(minutes=60)
    return journal.is_continuous(key, since=NOW + second * SECOND, until=until)


def test_a_journal_is_complete_from_where_it_forgot() -> None:
    journal = Journal(metrics=Metrics())
    journal.see_all(Kind.DEPLOYMENT, [], at=NOW)
    journal.confirm(Kind.DEPLOYMENT, at=NOW + timedelta(minutes=60))
    assert complete_since(journal, 0)

    journal.prune(before=NOW + 10 * SECOND)
    journal.prune(before=NOW + 5 * SECOND)  # by a clock that was set back

    assert not complete_since(journal, 9)
    assert complete_since(journal, 10)


def test_a_workload_that_changes_too_often_is_complete_from_its_oldest_entry_on() -> None:
    journal = Journal(metrics=Metrics())
    journal.see_all(Kind.DEPLOYMENT, [], at=NOW)
    for number in range(70):
        state = see(describe(5), generation=7, resource_version=100 + number, second=number)
        journal.see(state)
    journal.confirm(Kind.DEPLOYMENT, at=NOW + timedelta(minutes=60))

    assert [complete_since(journal, second) for second in (4, 5)] == [False, True]
    assert complete_since(journal, 0, name="another")


def test_a_list_after_a_gap_tells_what_is_gone() -> None:
    journal = Journal(metrics=Metrics())
    journal.see(BEFORE)

    journal.see_all(Kind.DEPLOYMENT, [], at=NOW)

    (first, last) = journal.read(KEY, after=0, up_to=journal.number)
    assert (first.seen.is_gone, last.seen.is_gone, last.seen.is_next) == (False, True, False)


def test_only_the_present_state_is_kept_of_what_is_at_rest() -> None:
    journal = Journal(metrics=Metrics())
    for version in range(100, 103):
        journal.see(replace(BEFORE, resource_version=str(version)))

    journal.prune(before=NOW + SECOND)

    assert len(list(journal.read(KEY, after=0, up_to=journal.number))) == 1
