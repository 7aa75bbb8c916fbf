"""Rows are made equal to a policy file: what differs is written, and nothing else is touched."""

import asyncio
from dataclasses import replace

import asyncpg

from gate.domain.pattern import Mode, PatternType
from gate.domain.policy import FailureMode
from gate.policy.file import parse_policy
from gate.ports.policy import DeclaredModes, NamespaceModes
from gate.ports.policy_rows import Application, RowFate
from gate.postgres.policy import PostgresPolicy
from gate.postgres.pool import Pool

DECIDING_AND_TOLD = (
    "pattern_name, pattern_type, description, min_occurrences, time_window_minutes,"
    " threshold_config, resource_types, namespaces, label_selectors, prevention_strategy,"
    " prevention_parameters, mode, alerting_enabled, alert_severity, alert_channels"
)
TWO = b"""
mode: audit
on_increase: refuse
namespaces:
  - {match: "shop-*", mode: enforce, failure_mode: closed}
patterns:
  scale-oscillation: {type: scale-oscillation, min_occurrences: 4}
  nights:
    type: scale-oscillation
    scope: {kinds: [Deployment], namespaces: ["night-*"], labels: {tier: web}}
    strategy: {name: block-action}
    alerting: {channels: [ops]}
"""


async def apply(pool: Pool, content: bytes) -> Application:
    return await PostgresPolicy(pool).apply(parse_policy(content, source="test").declare())


async def rows(pool: Pool) -> dict[str, asyncpg.Record]:
    found = await pool.fetch("SELECT * FROM oscillation_patterns")
    return {row["pattern_name"]: row for row in found}


def fates(application: Application) -> dict[str, RowFate]:
    return {change.name: change.fate for change in application.changes}


async def test_patterns_of_a_file_that_names_none_are_the_seeded_rows(pool: Pool) -> None:
    seeded = await pool.fetch(f"SELECT {DECIDING_AND_TOLD} FROM oscillation_patterns ORDER BY id")  # noqa: S608 - of this file

    declared = parse_policy(b"{}", source="test").declare().patterns

    assert [dict(row) for row in seeded] == list(declared)


async def test_applying_the_defaults_changes_no_pattern(pool: Pool) -> None:
    before = await rows(pool)

    application = await apply(pool, b"{}")

    assert fates(application) == {"policy_settings": RowFate.ADDED}
    assert await rows(pool) == before


async def test_rows_become_what_the_file_says(pool: Pool) -> None:
    application = await apply(pool, TWO)

    assert fates(application) == {
        "cascading-failure": RowFate.RETIRED,
        "ineffective-loop": RowFate.RETIRED,
        "nights": RowFate.ADDED,
        "policy_settings": RowFate.ADDED,
        "resource-thrashing": RowFate.RETIRED,
        "scale-oscillation": RowFate.CHANGED,
    }
    assert not application.is_drift
    listing = await PostgresPolicy(pool).read()
    assert listing.problems == ()
    assert [(p.name, p.min_occurrences) for p in listing.patterns] == [
        ("scale-oscillation", 4),
        ("nights", 3),
    ]
    assert listing.modes == DeclaredModes(
        Mode.AUDIT, None, (NamespaceModes("shop-*", Mode.ENFORCE, FailureMode.CLOSED),)
    )


async def test_policy_of_the_rows_is_the_policy_of_the_file(pool: Pool) -> None:
    parsed = parse_policy(TWO, source="test")
    await PostgresPolicy(pool).apply(parsed.declare())

    listing = await PostgresPolicy(pool).read()

    numbers = {pattern.name: pattern.id for pattern in listing.patterns}
    expected = [replace(p, id=numbers[p.name]) for p in parsed.as_policy().patterns]
    assert list(listing.patterns) == expected
    assert {p.thresholds.on_increase for p in listing.patterns} == {"refuse"}
    assert listing.modes == parsed.modes


async def test_applying_twice_writes_nothing_and_uses_no_number(pool: Pool) -> None:
    await apply(pool, TWO)
    before = await rows(pool)
    number = await pool.fetchval("SELECT last_value FROM oscillation_patterns_id_seq")

    again = await apply(pool, TWO)

    assert again == Application()
    assert await rows(pool) == before
    assert await pool.fetchval("SELECT last_value FROM oscillation_patterns_id_seq") == number


async def test_edited_row_is_put_back_and_told_once_as_drift(pool: Pool) -> None:
    await apply(pool, TWO)
    await pool.execute(
        "UPDATE oscillation_patterns SET min_occurrences = 64, total_detections = 9,"
        " last_detection_at = '2026-11-24T08:00:00Z' WHERE pattern_name = 'nights'"
    )

    first, second = await apply(pool, TWO), await apply(pool, TWO)

    assert first.is_drift
    (change,) = first.changes
    assert (change.name, change.fate) == ("nights", RowFate.CHANGED)
    assert (change.before, change.after) == ({"min_occurrences": 64}, {"min_occurrences": 3})
    assert second == Application()
    row = (await rows(pool))["nights"]
    assert (row["min_occurrences"], row["total_detections"]) == (3, 9)
    assert row["last_detection_at"] is not None


async def test_edited_modes_are_put_back_as_drift(pool: Pool) -> None:
    await apply(pool, TWO)
    await pool.execute("UPDATE policy_settings SET mode = 'enforce', namespaces = '[]'")

    application = await apply(pool, TWO)

    assert application.is_drift
    (change,) = application.changes
    assert change.name == "policy_settings"
    assert change.before == {"mode": "enforce", "namespaces": []}
    listing = await PostgresPolicy(pool).read()
    assert listing.modes is not None
    assert listing.modes.mode is Mode.AUDIT


async def test_added_row_and_deactivated_row_are_put_back(pool: Pool) -> None:
    await apply(pool, TWO)
    await pool.execute("UPDATE oscillation_patterns SET active = false WHERE pattern_name='nights'")
    await pool.execute("UPDATE oscillation_patterns SET active = true WHERE id = 4")

    application = await apply(pool, TWO)

    assert application.is_drift
    assert fates(application) == {
        "cascading-failure": RowFate.RETIRED,
        "nights": RowFate.CHANGED,
    }
    listing = await PostgresPolicy(pool).read()
    assert [p.name for p in listing.patterns] == ["scale-oscillation", "nights"]


async def test_change_of_the_file_is_no_drift(pool: Pool) -> None:
    await apply(pool, TWO)

    application = await apply(pool, TWO.replace(b"min_occurrences: 4", b"min_occurrences: 5"))

    assert not application.is_drift
    assert fates(application) == {"scale-oscillation": RowFate.CHANGED}


async def test_removed_pattern_keeps_its_row_and_comes_back_with_its_number(pool: Pool) -> None:
    number = (await rows(pool))["cascading-failure"]["id"]
    await apply(pool, TWO)
    retired = (await rows(pool))["cascading-failure"]

    await apply(pool, b"{}")

    returned = (await rows(pool))["cascading-failure"]
    assert (retired["id"], retired["active"]) == (number, False)
    assert (returned["id"], returned["active"]) == (number, True)


async def test_row_of_an_invalid_pattern_is_left_as_it_is(pool: Pool) -> None:
    await apply(pool, TWO)
    broken = TWO.replace(b"min_occurrences: 4", b"min_occurrences: 1").replace(b"audit", b"enforce")

    application = await apply(pool, broken)

    assert fates(application) == {"policy_settings": RowFate.CHANGED}
    listing = await PostgresPolicy(pool).read()
    assert [(p.name, p.min_occurrences) for p in listing.patterns] == [
        ("scale-oscillation", 4),
        ("nights", 3),
    ]


async def test_pattern_of_another_type_leaves_the_row_and_is_told_every_time(pool: Pool) -> None:
    other = b"patterns: {scale-oscillation: {type: cascading-failure}}"
    await apply(pool, other)

    again = await apply(pool, other)

    assert fates(again) == {"scale-oscillation": RowFate.KEPT}
    listing = await PostgresPolicy(pool).read()
    assert [p.type for p in listing.patterns] == [PatternType.SCALE_OSCILLATION]


async def test_modes_that_make_no_sense_are_named_and_spare_the_patterns(pool: Pool) -> None:
    await apply(pool, TWO)
    await pool.execute('UPDATE policy_settings SET namespaces = \'[{"match": "a"}]\'')

    listing = await PostgresPolicy(pool).read()

    assert len(listing.patterns) == 2
    assert listing.modes is None
    assert listing.modes_problem == (
        "policy_settings: namespaces.0: should say mode, failure_mode or both"
    )


async def test_policy_without_any_active_pattern_still_has_its_modes(pool: Pool) -> None:
    await apply(pool, TWO)
    await pool.execute("UPDATE oscillation_patterns SET active = false")

    listing = await PostgresPolicy(pool).read()

    assert listing.patterns == ()
    assert listing.modes is not None
    assert listing.modes.mode is Mode.AUDIT


async def test_no_reader_ever_sees_a_mixture_of_two_policies(pool: Pool) -> None:
    file = "mode: {}\npatterns: {{a: {{type: scale-oscillation, min_occurrences: {}}}, {}: {}}}"
    one = file.format("audit", 4, "b", "{type: cascading-failure}").encode()
    other = file.format("enforce", 5, "c", "{type: ineffective-loop}").encode()
    await apply(pool, one)
    seen = set()

    async def read() -> None:
        for _ in range(60):
            listing = await PostgresPolicy(pool).read()
            assert listing.modes is not None
            patterns = tuple((p.name, p.min_occurrences) for p in listing.patterns)
            seen.add((listing.modes.mode, patterns))

    async def write() -> None:
        for _ in range(15):
            await apply(pool, other)
            await apply(pool, one)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for _ in range(3):
            tasks.create_task(read())

    assert seen <= {
        (Mode.AUDIT, (("a", 4), ("b", 3))),
        (Mode.ENFORCE, (("a", 5), ("c", 3))),
    }


async def test_two_leaders_for_a_moment_write_the_same_rows(pool: Pool) -> None:
    async with asyncio.TaskGroup() as tasks:
        applied = [tasks.create_task(apply(pool, TWO)) for _ in range(6)]

    assert not any(task.result().is_drift for task in applied)
    assert await apply(pool, TWO) == Application()
