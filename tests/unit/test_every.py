"""Loops: how often they run, and that a failure neither ends nor floods them."""

import asyncio
from datetime import timedelta

import pytest

from gate.errors import StorageUnavailableError
from gate.services.every import every
from gate.telemetry import Metrics
from tests.virtual_time import run_in_virtual_time

PERIOD = timedelta(seconds=30)


class Recorder:
    """Notes when it ran, and fails as often as it is told."""

    def __init__(self, *, failures: int = 0) -> None:
        self.times: list[float] = []
        self._failures = failures

    async def run_once(self) -> None:
        self.times.append(asyncio.get_running_loop().time())
        if len(self.times) <= self._failures:
            raise StorageUnavailableError("PostgreSQL is down")

    @property
    def pauses(self) -> list[float]:
        return [
            later - earlier for earlier, later in zip([0.0, *self.times], self.times, strict=False)
        ]


async def run_for(span: timedelta, recorder: Recorder, metrics: Metrics) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(span.total_seconds()):
            await every(PERIOD, recorder.run_once, name="test", metrics=metrics)


def last_success(metrics: Metrics) -> bool:
    return b'gate_loop_last_success_timestamp_seconds{loop="test"}' in metrics.expose()


def test_runs_once_a_period_at_the_least() -> None:
    recorder = Recorder()

    run_in_virtual_time(run_for(timedelta(minutes=10), recorder, Metrics()))

    assert 20 <= len(recorder.times) <= 25
    assert all(24 <= pause <= 30 for pause in recorder.pauses)


def test_failures_double_the_pause_up_to_eight_periods_and_a_success_ends_that() -> None:
    recorder, metrics = Recorder(failures=5), Metrics()

    run_in_virtual_time(run_for(timedelta(minutes=20), recorder, metrics))

    periods = [pause / PERIOD.total_seconds() for pause in recorder.pauses]
    for pause, longest in zip(periods, (1, 2, 4, 8, 8, 8, 1, 1), strict=False):
        assert 0.8 * longest <= pause <= longest
    assert last_success(metrics)


def test_loop_that_only_fails_has_no_last_success() -> None:
    recorder, metrics = Recorder(failures=1000), Metrics()

    run_in_virtual_time(run_for(timedelta(minutes=20), recorder, metrics))

    assert len(recorder.times) >= 5
    assert not last_success(metrics)


def test_bug_in_a_loop_is_not_hidden() -> None:
    async def run_once() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run_in_virtual_time(every(PERIOD, run_once, name="test", metrics=Metrics()))
