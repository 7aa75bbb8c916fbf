"""Leadership: duties run with one holder, stop when it is lost, and outlast an absent database."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from gate.errors import ClusterError, StorageUnavailableError
from gate.services.leadership import Leadership
from gate.telemetry import Metrics
from tests.virtual_time import run_in_virtual_time

LENGTH = timedelta(seconds=15)


class MemoryLeases:
    """Satisfies `Leases` by the clock of the loop."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, float]] = {}
        self.is_away = False

    async def claim(self, name: str, *, holder: str, length: timedelta) -> bool:
        if self.is_away:
            raise StorageUnavailableError("away")
        now = asyncio.get_running_loop().time()
        present, until = self.held.get(name, ("", 0.0))
        if present != holder and until > now:
            return False
        self.held[name] = (holder, now + length.total_seconds())
        return True

    async def release(self, name: str, *, holder: str) -> None:
        if self.is_away:
            raise StorageUnavailableError("away")
        if self.held.get(name, ("", 0.0))[0] == holder:
            del self.held[name]


class Replica:
    """One process that would lead, and whether it does its duties."""

    def __init__(self, leases: MemoryLeases, holder: str) -> None:
        self.metrics = Metrics()
        self.is_on_duty = False
        self.starts = 0
        self.leadership = Leadership(
            leases, name="watch/prod", holder=holder, length=LENGTH, metrics=self.metrics
        )

    async def duties(self) -> None:
        self.is_on_duty = True
        self.starts += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.is_on_duty = False

    async def run(self) -> None:
        await self.leadership.run(self.duties)


async def wait_until(condition: Callable[[], bool], *, within: float) -> None:
    """Look twice a second, in a time that takes none."""
    for _ in range(int(within * 2)):
        if condition():
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"not so within {within} s")


def test_one_of_several_does_its_duties_and_another_takes_over_at_once_when_it_ends() -> None:
    async def scene() -> None:
        leases = MemoryLeases()
        replicas = [Replica(leases, str(n)) for n in range(3)]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(replica.run()) for replica in replicas]
            await asyncio.sleep(60)
            assert [replica.is_on_duty for replica in replicas] == [True, False, False]
            running[0].cancel()
            await wait_until(lambda: replicas[1].is_on_duty, within=6)
            for task in running:
                task.cancel()
        assert not any(replica.is_on_duty for replica in replicas)
        assert leases.held == {}

    run_in_virtual_time(scene())


def test_duties_stop_when_somebody_else_holds_the_lease() -> None:
    async def scene() -> None:
        leases = MemoryLeases()
        replica = Replica(leases, "a")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(replica.run())
            await asyncio.sleep(1)
            leases.held["watch/prod"] = ("b", asyncio.get_running_loop().time() + 60)
            await wait_until(lambda: not replica.is_on_duty, within=6)
            assert b'gate_leadership{lease="watch"} 0.0' in replica.metrics.expose()
            await wait_until(lambda: replica.is_on_duty, within=70)
            running.cancel()
        assert replica.starts == 2

    run_in_virtual_time(scene())


def test_duties_go_on_while_the_database_is_away_and_nobody_can_take_over() -> None:
    async def scene() -> None:
        leases = MemoryLeases()
        replica = Replica(leases, "a")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(replica.run())
            await asyncio.sleep(1)
            leases.is_away = True
            await asyncio.sleep(300)
            assert replica.is_on_duty
            assert b'gate_leadership{lease="watch"} 0.0' in replica.metrics.expose()
            leases.is_away = False
            await asyncio.sleep(6)
            assert b'gate_leadership{lease="watch"} 1.0' in replica.metrics.expose()
            running.cancel()
        assert replica.starts == 1

    run_in_virtual_time(scene())


def test_a_database_that_is_away_at_the_start_is_waited_for() -> None:
    async def scene() -> None:
        leases = MemoryLeases()
        leases.is_away = True
        replica = Replica(leases, "a")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(replica.run())
            await asyncio.sleep(60)
            assert not replica.is_on_duty
            leases.is_away = False
            await wait_until(lambda: replica.is_on_duty, within=6)
            running.cancel()

    run_in_virtual_time(scene())


def test_duties_that_cannot_be_done_are_tried_again_and_end_nothing_else() -> None:
    async def scene() -> None:
        tries = []

        async def unreachable() -> None:
            tries.append(asyncio.get_running_loop().time())
            raise ClusterError("the cluster is not there")

        replica = Replica(MemoryLeases(), "a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(61):
                await replica.leadership.run(unreachable)
        assert len(tries) == 5

    run_in_virtual_time(scene())


async def break_down() -> None:
    """Fail as a bug in nested duties does."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(5))
        raise RuntimeError("a bug with a secret")


def test_a_bug_in_the_duties_is_reported_without_its_words_and_they_are_done_again() -> None:
    async def scene() -> None:
        tries = []

        async def broken() -> None:
            tries.append(asyncio.get_running_loop().time())
            await break_down()

        replica = Replica(MemoryLeases(), "a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await replica.leadership.run(broken)
        assert tries == [0, 65]
        assert b'gate_duty_failures_total{lease="watch"} 2.0' in replica.metrics.expose()

    with capture_logs() as logs:
        run_in_virtual_time(scene())

    told = [entry for entry in logs if entry["event"] == "leadership.duty_failed"]
    assert [entry["type"] for entry in told] == ["RuntimeError"] * 2
    assert told[0]["places"][-1].startswith("tests.unit.test_leadership:")
    assert "secret" not in repr(told)


def test_a_replica_whose_duties_have_a_bug_leaves_them_to_another() -> None:
    async def scene() -> None:
        leases = MemoryLeases()
        broken, sound = Replica(leases, "a"), Replica(leases, "b")
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(broken.leadership.run(break_down))]
            await asyncio.sleep(0)
            running.append(tasks.create_task(sound.run()))
            await wait_until(lambda: sound.is_on_duty, within=6)
            await asyncio.sleep(300)
            assert (sound.is_on_duty, sound.starts) == (True, 1)
            for task in running:
                task.cancel()

    run_in_virtual_time(scene())


def test_duties_that_fail_while_they_are_stopped_do_not_go_on() -> None:
    async def scene() -> None:
        async def stubborn() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise RuntimeError

        leases = MemoryLeases()
        replica = Replica(leases, "a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await replica.leadership.run(stubborn)
        assert asyncio.get_running_loop().time() == 10
        assert leases.held == {}

    run_in_virtual_time(scene())
