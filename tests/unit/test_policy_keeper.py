"""The policy file is followed: the last good one stays, and only the leader writes rows."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from gate.domain.actor import AgentRules
from gate.errors import StorageUnavailableError
from gate.policy.file import MOST_BYTES
from gate.ports.policy_rows import Application, Declaration, RowChange, RowFate
from gate.services.policy_keeper import PolicyKeeper
from gate.services.readiness import Readiness
from gate.telemetry import Metrics

AGENTS = AgentRules(users=("bots:*",))
OTHERS = AgentRules(users=("others:*",))


@dataclass
class Rows:
    """Satisfies `PolicyRows`; keeps what it is given, and answers what it is told to."""

    declared: list[Declaration] = field(default_factory=list)
    answers: list[Application] = field(default_factory=list)
    is_down: bool = False
    was_declared: bool = True

    async def is_declared(self) -> bool:
        return self.was_declared

    async def apply(self, declaration: Declaration) -> Application:
        if self.is_down:
            raise StorageUnavailableError("away")
        self.declared.append(declaration)
        return self.answers.pop(0) if self.answers else Application()

    @property
    def mode(self) -> object:
        return self.declared[-1].modes["mode"]


@dataclass
class Case:
    """A keeper with its file, and all that it tells."""

    path: Path
    rows: Rows = field(default_factory=Rows)
    metrics: Metrics = field(default_factory=Metrics)
    readiness: Readiness = field(default_factory=Readiness)
    is_leader: bool = True
    defaults: AgentRules = AGENTS

    def __post_init__(self) -> None:
        self.keeper = PolicyKeeper(
            self.path,
            self.rows,
            agents=AGENTS,
            defaults=self.defaults,
            is_leader=lambda: self.is_leader,
            metrics=self.metrics,
            readiness=self.readiness,
        )

    async def look(self, times: int = 2) -> None:
        for _ in range(times):
            await self.keeper.run_once()

    @property
    def notes(self) -> dict[str, str]:
        return dict(self.readiness.describe_notes())

    def measure(self, name: str) -> float:
        (line,) = (
            line for line in self.metrics.expose().decode().splitlines() if line.startswith(name)
        )
        return float(line.split()[-1])


@pytest.fixture
def case(tmp_path: Path) -> Case:
    path = tmp_path / "policy.yaml"
    path.write_text("mode: audit")
    return Case(path)


async def test_file_is_taken_at_the_first_look(case: Case) -> None:
    await case.look(1)

    assert case.rows.mode == "audit"
    assert case.notes == {}


async def test_change_is_taken_once_it_was_found_twice(case: Case) -> None:
    await case.look(1)
    case.path.write_text("mode: enforce")

    await case.look(1)
    once = case.rows.mode
    await case.look(1)

    assert (once, case.rows.mode) == ("audit", "enforce")


async def test_file_that_is_half_written_at_a_look_is_never_taken(case: Case) -> None:
    await case.look(1)
    for half in ("", "mode: enfo", "mode: enforce\npatterns: {a: {type: cascading-fail"):
        case.path.write_text(half)
        await case.look(1)

    case.path.write_text("mode: enforce")
    await case.look()

    assert {declared.modes["mode"] for declared in case.rows.declared} == {"audit", "enforce"}
    assert case.measure("gate_policy_file_unusable") == 0


async def test_replaced_symbolic_link_is_followed(tmp_path: Path) -> None:
    for name, mode in (("..old", "audit"), ("..new", "enforce")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(f"mode: {mode}")
    data, path = tmp_path / "..data", tmp_path / "policy.yaml"
    data.symlink_to("..old")
    path.symlink_to("..data/policy.yaml")
    case = Case(path)
    await case.look()

    swapped = tmp_path / "..data_tmp"
    swapped.symlink_to("..new")
    swapped.rename(data)
    await case.look()

    assert case.rows.mode == "enforce"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"mode: audti", "line 1: mode: should be 'enforce' or 'audit', not 'audti'"),
        (b"", "it is empty"),
        (b"#" * (MOST_BYTES + 1), "is larger than 1 MiB"),
        (None, "cannot be read: No such file or directory"),
    ],
)
async def test_unusable_file_keeps_the_last_good_one_and_says_so(
    case: Case, content: bytes | None, problem: str
) -> None:
    await case.look(1)
    if content is None:
        case.path.unlink()
    else:
        case.path.write_bytes(content)

    with structlog.testing.capture_logs() as lines:
        await case.look(5)

    assert case.rows.mode == "audit"
    assert len(case.rows.declared) == 6
    assert [line["event"] for line in lines] == ["policy_file.unusable"]
    assert problem in lines[0]["problem"]
    assert problem in case.notes["policy_file"]
    assert case.notes["policy_file"].endswith("the last good one goes on")
    assert case.measure("gate_policy_file_unusable") == 1
    assert case.readiness.describe() == {}


async def test_corrected_file_is_taken_and_no_longer_reported(case: Case) -> None:
    case.path.write_text("mode: audti")
    await case.look(1)
    unusable = case.notes["policy_file"]
    assert case.rows.declared == []

    case.path.write_text("mode: enforce")
    await case.look()

    assert unusable.endswith("the rows go on as they are")
    assert case.rows.mode == "enforce"
    assert case.notes == {}
    assert case.measure("gate_policy_file_unusable") == 0


async def test_file_that_vanishes_for_one_look_is_not_reported(case: Case) -> None:
    await case.look(1)
    away = case.path.rename(case.path.with_name("away"))
    await case.look(1)
    away.rename(case.path)

    with structlog.testing.capture_logs() as lines:
        await case.look()

    assert [line["event"] for line in lines] == ["policy_file.read"]
    assert case.notes == {}


async def test_invalid_pattern_is_reported_and_the_rest_is_taken(case: Case) -> None:
    case.path.write_text("mode: enforce\npatterns: {a: {type: x}, b: {type: cascading-failure}}")

    await case.look()

    assert case.rows.mode == "enforce"
    assert [row["pattern_name"] for row in case.rows.declared[-1].patterns] == ["b"]
    assert case.rows.declared[-1].spared == ("a",)
    assert case.notes["policy_file"].endswith(
        "these patterns go on as they are, and the others are taken"
    )
    assert case.measure("gate_policy_file_unusable") == 1


async def test_only_the_leader_writes_rows_and_a_new_one_does_at_once(case: Case) -> None:
    case.is_leader = False
    await case.look()
    as_follower = list(case.rows.declared)
    case.is_leader = True

    await case.look(1)

    assert as_follower == []
    assert case.rows.mode == "audit"


async def test_follower_reports_an_unusable_file_too(case: Case) -> None:
    case.is_leader = False
    case.path.write_text("mode: audti")

    await case.look()

    assert "policy_file" in case.notes


async def test_file_is_followed_while_the_rows_cannot_be_reached(case: Case) -> None:
    await case.look(1)
    case.rows.is_down = True
    case.path.write_text("mode: enforce")
    for _ in range(2):
        with pytest.raises(StorageUnavailableError):
            await case.look(1)
    case.rows.is_down = False

    await case.look(1)

    assert case.rows.mode == "enforce"


async def test_other_agents_are_reported_and_wait_for_a_restart(case: Case) -> None:
    case.path.write_text("agents: {users: ['robots:*']}")
    with structlog.testing.capture_logs() as lines:
        await case.look()
    pending, measured = case.notes, case.measure("gate_policy_agents_pending")

    case.path.write_text("agents: {users: ['bots:*']}")
    await case.look()

    assert pending == {
        "agents": "the policy file names other agents than those in use: restart gate, together"
        " with a change of the webhook's matchConditions"
    }
    assert measured == 1
    assert [line["event"] for line in lines] == ["policy_file.read", "policy_file.agents_pending"]
    assert case.notes == {}


async def test_agents_that_the_file_no_longer_names_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("agents: {users: ['bots:*']}")
    case = Case(path, defaults=OTHERS)
    await case.look()
    before = case.notes

    case.path.write_text("mode: audit")
    await case.look()

    assert before == {}
    assert case.notes == {
        "agents": "the policy file names no agents, and those of the settings are others than those"
        " in use: restart gate, together with a change of the webhook's matchConditions"
    }
    assert case.measure("gate_policy_agents_pending") == 1


async def test_edited_rows_are_reported_once_when_they_are_put_back(case: Case) -> None:
    change = RowChange("a", RowFate.CHANGED, {"min_occurrences": 64}, {"min_occurrences": 3})
    case.rows.answers = [Application(), Application((change,), is_drift=True), Application()]

    with structlog.testing.capture_logs() as lines:
        await case.look(3)

    assert lines[1:] == [
        {
            "event": "policy.row_put_back",
            "log_level": "warning",
            "row": "a",
            "fate": "changed",
            "before": {"min_occurrences": 64},
            "after": {"min_occurrences": 3},
        }
    ]
    assert case.measure("gate_policy_rows_put_back_total") == 1


async def test_rows_that_a_changed_file_changes_are_no_drift(case: Case) -> None:
    change = RowChange("a", RowFate.ADDED, {}, {"min_occurrences": 3})
    case.rows.answers = [Application((change,))]

    await case.look(1)

    assert case.measure("gate_policy_rows_put_back_total") == 0


async def test_pattern_that_changed_its_type_is_noted_once_until_it_is_renamed(case: Case) -> None:
    kept = Application((RowChange("a", RowFate.KEPT, {}, {}),))
    case.rows.answers = [kept, kept, Application()]

    with structlog.testing.capture_logs() as lines:
        await case.look()
    noted = case.notes
    await case.look(1)

    assert [line["event"] for line in lines] == ["policy_file.read", "policy.row_kept"]
    assert "give the pattern in the policy file another name" in noted["policy_rows"]
    assert case.notes == {}


@pytest.mark.parametrize("was_declared", [True, False])
async def test_first_file_is_applied_at_the_start_by_whoever_starts(
    case: Case, *, was_declared: bool
) -> None:
    case.is_leader = False
    case.rows.was_declared = was_declared
    case.path.write_text("mode: audit")

    await case.keeper.start()

    assert [declared.modes["mode"] for declared in case.rows.declared] == (
        [] if was_declared else ["audit"]
    )
