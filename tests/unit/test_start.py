"""What happens around a start: the database that is not there yet, partitions, path tokens."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gate.errors import SchemaNotCurrentError, SettingsError, StorageUnavailableError
from gate.services.partitions import PartitionKeeper, find_horizon
from gate.services.preparation import prepare_database, require_current
from gate.services.readiness import Readiness
from gate.services.tokens import PathTokens
from gate.telemetry import Metrics
from tests.virtual_time import run_in_virtual_time

DOWN = "PostgreSQL cannot be reached"


def test_database_is_tried_until_it_is_there_and_readiness_says_why() -> None:
    readiness = Readiness()
    seen: list[object] = []

    async def step() -> None:
        seen.append(dict(readiness.describe()))
        if len(seen) < 4:
            raise StorageUnavailableError(DOWN)

    async def start() -> float:
        await prepare_database([step], readiness)
        await readiness.wait()
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(start()) == 3
    assert seen == [{"database": "not reached yet"}, *[{"database": DOWN}] * 3]
    assert readiness.describe() == {}


def test_steps_begin_again_from_the_first_after_a_failure() -> None:
    done: list[str] = []

    async def first() -> None:
        done.append("first")

    async def second() -> None:
        done.append("second")
        if len(done) < 4:
            raise StorageUnavailableError(DOWN)

    run_in_virtual_time(prepare_database([first, second], Readiness()))

    assert done == ["first", "second", "first", "second"]


def test_pending_revisions_are_named_with_the_command_that_applies_them() -> None:
    require_current([])
    with pytest.raises(SchemaNotCurrentError) as refusal:
        require_current(["0002", "0003"])

    assert str(refusal.value) == ("the schema lacks 2 revision(s), 0002, 0003: run `gate migrate`")


@pytest.mark.parametrize(
    ("now", "months_ahead", "horizon"),
    [
        (datetime(2026, 11, 24, tzinfo=UTC), 3, datetime(2027, 3, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), 1, datetime(2026, 3, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), 24, datetime(2029, 1, 1, tzinfo=UTC)),
    ],
)
def test_horizon_is_the_first_instant_without_a_partition(
    now: datetime, months_ahead: int, horizon: datetime
) -> None:
    assert find_horizon(now, months_ahead=months_ahead) == horizon


class Months:
    """Satisfies `Partitions`; makes everything, or nothing."""

    def __init__(self) -> None:
        self.is_down = False

    async def ensure(self, *, now: datetime, months_ahead: int) -> list[str]:
        if self.is_down:
            raise StorageUnavailableError(DOWN)
        return [f"{now:%Y-%m}+{months_ahead}"]


async def test_horizon_goes_on_falling_while_partitions_cannot_be_made() -> None:
    months, metrics = Months(), Metrics()
    now = datetime(2026, 11, 24, tzinfo=UTC)

    def days() -> float:
        lines = metrics.expose().decode().splitlines()
        (line,) = [line for line in lines if line.startswith("gate_partition_horizon_days")]
        return float(line.split()[1])

    keeper = PartitionKeeper(months, months_ahead=3, clock=lambda: now, metrics=metrics)
    await keeper.run_once()
    assert days() == 97

    months.is_down = True
    now += timedelta(days=10)
    with pytest.raises(StorageUnavailableError):
        await keeper.run_once()
    assert days() == 87


async def test_all_tokens_of_all_files_are_accepted_and_followed(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text("a" * 32)
    old.write_text(f"{'b' * 32}\n{'c' * 43}\n")
    tokens = PathTokens([new, old])

    assert await tokens.run_once()
    assert tokens.accepted == {"a" * 32, "b" * 32, "c" * 43}
    assert not await tokens.run_once()

    new.write_text("d" * 32)
    assert await tokens.run_once()
    assert "a" * 32 not in tokens.accepted


@pytest.mark.parametrize("content", ["", "short", "has/slash" * 9, "a" * 257])
async def test_unusable_token_file_keeps_what_was_accepted_and_is_not_quoted(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "token"
    file.write_text("a" * 32)
    tokens = PathTokens([file])
    await tokens.run_once()
    file.write_text(content)

    with pytest.raises(SettingsError) as refusal:
        await tokens.run_once()

    assert str(refusal.value) == (
        f"token_files: {file} should hold one token a line, each of 32 to 256 letters, digits, -"
        f" or _"
    )
    assert tokens.accepted == {"a" * 32}
