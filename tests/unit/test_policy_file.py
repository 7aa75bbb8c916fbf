"""The policy file: what is wrong is named with its place, and disables nothing else."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from gate.domain.actor import AgentRules
from gate.domain.pattern import (
    CascadeThresholds,
    LoopThresholds,
    Mode,
    OnIncrease,
    Pattern,
    PatternType,
    Scope,
    Strategy,
    Thresholds,
)
from gate.domain.policy import FailureMode, PerNamespace
from gate.errors import PolicyFileError
from gate.policy.document import YamlProblemError, parse_document
from gate.policy.file import MOST_BYTES, ParsedPolicy, load_policy_file, parse_policy
from gate.policy.schema import make_json_schema
from gate.policy.start import Start, read_at_start
from gate.ports.policy import DeclaredModes

ROOT = Path(__file__).parents[2]
KINDS = ("Deployment", "StatefulSet")
EVERYTHING = """
mode: audit
failure_mode: closed
on_increase: refuse
namespaces:
  - {match: "shop-*", mode: enforce}
  - {match: "*", failure_mode: open}
agents:
  users: ["system:serviceaccount:bots:*"]
  extra: {agent: ["*"]}
patterns:
  up-and-down:
    type: scale-oscillation
    min_occurrences: 4
    time_window_minutes: 45
    thresholds: {dead_absolute: 2, increase_cap: 3}
    scope: {kinds: [StatefulSet], namespaces: [shop, "night-*"], labels: {tier: web}}
    strategy:
      name: cooling-period
      cooling_period_minutes: 7.5
      escalate_after: 2
      escalation_expires_minutes: 90
    mode: enforce
  resources:
    type: resource-thrashing
    thresholds: {dead_absolute_cpu: 0.1, dead_absolute_memory: 1Gi, on_increase: warn}
    strategy: {name: alternative-action, alternatives: [roll back, "ask #ops"]}
  loops:
    type: ineffective-loop
    thresholds: {effectiveness_threshold: 0.5, churn_mode: null, alert_window_minutes: 30}
    strategy: {name: escalate-human, cooling_period_minutes: 0}
  cascades:
    type: cascading-failure
    thresholds: {unhealthy_workloads: 3}
    strategy: {name: block-action}
"""


def parse(text: str) -> ParsedPolicy:
    return parse_policy(text.encode(), source="policy.yaml")


def refusal_of(text: str | bytes) -> str:
    with pytest.raises(PolicyFileError) as refusal:
        parse_policy(text if isinstance(text, bytes) else text.encode(), source="policy.yaml")
    return str(refusal.value)


def test_everything_that_is_declared_decides() -> None:
    policy = parse(EVERYTHING).as_policy()

    assert policy.modes == PerNamespace(Mode.AUDIT, (("shop-*", Mode.ENFORCE),))
    assert policy.failure_modes == PerNamespace(FailureMode.CLOSED, (("*", FailureMode.OPEN),))
    assert policy.patterns == (
        Pattern(
            id=1,
            type=PatternType.SCALE_OSCILLATION,
            name="up-and-down",
            min_occurrences=4,
            window=timedelta(minutes=45),
            strategy=Strategy.COOLING_PERIOD,
            thresholds=Thresholds(dead_absolute=2, on_increase=OnIncrease.REFUSE, increase_cap=3),
            own_end=timedelta(minutes=7.5),
            escalate_after=2,
            escalation_lasts=timedelta(minutes=90),
            scope=Scope(("StatefulSet",), ("shop", "night-*"), {"tier": "web"}),
            mode=Mode.ENFORCE,
        ),
        Pattern(
            id=2,
            type=PatternType.RESOURCE_THRASHING,
            name="resources",
            min_occurrences=3,
            window=timedelta(minutes=90),
            strategy=Strategy.ALTERNATIVE_ACTION,
            thresholds=Thresholds(dead_absolute_cpu=100, dead_absolute_memory=1024**3),
            own_end=timedelta(minutes=30),
            alternatives=("roll back", "ask #ops"),
            scope=Scope(KINDS),
        ),
        Pattern(
            id=3,
            type=PatternType.INEFFECTIVE_LOOP,
            name="loops",
            min_occurrences=3,
            window=timedelta(minutes=180),
            strategy=Strategy.ESCALATE_HUMAN,
            loop=LoopThresholds(
                effectiveness_threshold=0.5, churn_mode=None, alert_window=timedelta(minutes=30)
            ),
            scope=Scope(KINDS),
        ),
        Pattern(
            id=4,
            type=PatternType.CASCADING_FAILURE,
            name="cascades",
            min_occurrences=3,
            window=timedelta(minutes=60),
            strategy=Strategy.BLOCK_ACTION,
            cascade=CascadeThresholds(3),
            scope=Scope(KINDS),
        ),
    )


def test_agents_are_rules() -> None:
    agents = parse(EVERYTHING).file.agents

    assert agents is not None
    assert agents.as_rules() == AgentRules(
        users=("system:serviceaccount:bots:*",), extra=(("agent", "*"),)
    )


@pytest.mark.parametrize("text", ["{}", "patterns: {}", "patterns:", "mode: audit"])
def test_file_that_names_no_pattern_means_one_of_each_type(text: str) -> None:
    policy = parse(text).as_policy()

    assert [p.type for p in policy.patterns] == list(PatternType)
    assert [p.name for p in policy.patterns] == list(PatternType)
    assert policy.patterns[2].loop == LoopThresholds()
    assert policy.patterns[3].cascade == CascadeThresholds()
    assert policy.patterns[0].thresholds == policy.patterns[1].thresholds == Thresholds()


def test_settings_hold_where_the_file_names_no_mode() -> None:
    policy = parse("{}").as_policy(mode=Mode.AUDIT, failure_mode=FailureMode.CLOSED)

    assert policy.modes == PerNamespace(Mode.AUDIT)
    assert policy.failure_modes == PerNamespace(FailureMode.CLOSED)


def test_invalid_pattern_is_named_with_all_that_is_wrong_and_the_others_hold() -> None:
    parsed = parse(
        "patterns:\n"
        "  a:\n"
        "    type: scale-oscillation\n"
        "    min_occurrences: 2\n"
        "    thresholds:\n"
        "      dead_relativ: 0.2\n"
        "    strategy: {name: cooling}\n"
        "  b: {type: cascading-failure}\n"
        "  c: {type: cascading}\n"
        "  d: {}\n"
        "  7: {type: cascading-failure}\n"
    )

    assert list(parsed.patterns) == ["b"]
    assert parsed.declare().spared == ("7", "a", "c", "d")
    assert (parsed.describe_problems() or "").split("; line") == [
        "line 4: patterns.a.min_occurrences: should be greater than or equal to 3, not 2",
        " 6: patterns.a.thresholds.dead_relativ: this key does not exist; did you mean"
        " dead_relative?",
        " 7: patterns.a.strategy.name: should be block-action, cooling-period, escalate-human or"
        " alternative-action, not 'cooling'; did you mean cooling-period?",
        " 9: patterns.c.type: should be scale-oscillation, resource-thrashing, ineffective-loop or"
        " cascading-failure, not 'cascading'; did you mean cascading-failure?",
        " 10: patterns.d.type: is missing; it says which kind this is",
        " 11: patterns.7: should be text, in quotes, not 7",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ": it is empty; write {} where all defaults are meant"),
        ("# nothing\n", ": it is empty; write {} where all defaults are meant"),
        ("- a", " should hold `key: value` pairs such as `mode: audit`"),
        ("mode: audit\nmode: enforce", ": line 2: mode is there twice"),
        ("mode: audti", ": line 1: mode: should be 'enforce' or 'audit', not 'audti'"),
        ("a: &a [1]\nb: *a", ": line 2: aliases (*name) are not read here: write it out"),
        ("a: !!int 3", ": line 1: tags (!name) are not read here: leave it out"),
        ("[" * 5000, ": line 1: this is nested deeper than any policy"),
        ("mode: a: b", ": line 1: mapping values are not allowed here"),
        ("on_increase: no", ": line 1: on_increase: should be 'warn' or 'refuse', not false"),
        ("agents: {}", ": line 1: agents: should name at least one user, group or extra glob"),
        (
            "mode: audit\npaterns: {}",
            ": line 2: paterns: this key does not exist; did you mean patterns?",
        ),
        ("patterns: 3", ": line 1: patterns: should hold `key: value` pairs, not 3"),
        ("patterns: []", ": line 1: patterns: should hold `key: value` pairs"),
        ("patterns: false", ": line 1: patterns: should hold `key: value` pairs, not false"),
        ("patterns: ''", ": line 1: patterns: should hold `key: value` pairs, not ''"),
        (
            f"agents: {{users: [{'a, ' * 200}], groups: [{'a, ' * 57}]}}",
            ": line 1: agents: at most 256 globs in all, there are 257: write a glob that matches"
            " several",
        ),
        (
            "namespaces:\n- match: a\n  mod: audit\n- {match: b}",
            ": line 3: namespaces.0.mod: this key does not exist; did you mean mode?; line 4:"
            " namespaces.1: should say mode, failure_mode or both",
        ),
        (b"\xff", " is not text in UTF-8"),
        ("mode: \x00", ": unacceptable character #x0000: special characters are not allowed"),
    ],
)
def test_file_that_cannot_be_used_says_where_and_what_is_allowed(
    text: str | bytes, problem: str
) -> None:
    assert refusal_of(text).startswith(f"policy file policy.yaml{problem}")


def list_patterns(number: int, entry: str = "{type: cascading-failure}") -> str:
    return "patterns:\n" + "".join(f"  p{n}: {entry}\n" for n in range(number))


def test_most_patterns_are_64_and_one_more_is_a_problem_of_the_whole_file() -> None:
    assert len(parse(list_patterns(64)).patterns) == 64

    assert refusal_of(list_patterns(65)) == (
        "policy file policy.yaml: line 1: patterns: at most 64 patterns, there are 65: join those"
        " that differ only in their scope, for one scope may name 64 globs"
    )


def test_patterns_that_are_too_many_are_not_looked_at() -> None:
    problem = refusal_of("mode: audti\n" + list_patterns(300, "{type: x, unknown: 1}"))

    assert problem.count("line ") == 2
    assert "line 2: patterns: at most 64 patterns, there are 300" in problem


@pytest.mark.parametrize(
    ("text", "path", "most"),
    [
        ("namespaces: [{}]", "namespaces", 256),
        ("agents: {{users: [{}]}}", "agents.users", 256),
        ("agents: {{groups: [{}]}}", "agents.groups", 256),
        ("agents: {{extra: {{key: [{}]}}}}", "agents.extra.key", 256),
    ],
)
def test_lists_of_the_file_have_an_end(text: str, path: str, most: int) -> None:
    item = "{match: a, mode: audit}, " if path == "namespaces" else "a, "

    parse(text.format(item * most))

    assert f"line 1: {path}: at most {most} entries, there are {most + 1}: write" in refusal_of(
        text.format(item * (most + 1))
    )


@pytest.mark.parametrize("key", ["namespaces", "kinds"])
def test_lists_of_a_scope_have_an_end(key: str) -> None:
    entry = "{type: cascading-failure, scope: {%s: [%s]}}"

    parsed = parse(list_patterns(1, entry % (key, "Deployment, " * 64)))
    problem = parse(list_patterns(1, entry % (key, "Deployment, " * 65))).describe_problems()

    assert not parsed.problems
    assert f"patterns.p0.scope.{key}: at most 64 entries, there are 65: " in (problem or "")


def test_labels_of_a_scope_have_an_end() -> None:
    labels = ", ".join(f"l{number}: a" for number in range(65))
    entry = f"{{type: cascading-failure, scope: {{labels: {{{labels}}}}}}}"

    problem = parse(list_patterns(1, entry)).describe_problems()

    assert "patterns.p0.scope.labels: at most 64 labels, there are 65" in (problem or "")


def test_only_the_first_of_many_problems_are_told() -> None:
    keys = "".join(f"unknown-{number}: 1\n" for number in range(500))

    assert refusal_of(keys).endswith("; and 480 more")


@pytest.mark.parametrize(
    "value", ["true", ".nan", ".inf", "'3'", "-1", "[]", "{}", "1e300", "2026-01-01", "null"]
)
def test_number_is_never_made_of_anything_else(value: str) -> None:
    text = f"patterns: {{a: {{type: scale-oscillation, thresholds: {{increase_cap: {value}}}}}}}"

    assert set(parse(text).problems) == {"a"}


def test_text_is_never_trusted_in_messages() -> None:
    text = '"\\e[31m": 1\npatterns: {"\\u202e": {type: "\\e[0m"}}'

    assert refusal_of(text).isprintable()


def test_file_is_read_with_a_mark_of_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"\xef\xbb\xbfmode: audit\r\n")

    assert load_policy_file(path).file.mode is Mode.AUDIT


def test_file_that_is_missing_a_directory_a_pipe_or_huge_is_not_read(tmp_path: Path) -> None:
    huge, pipe = tmp_path / "huge", tmp_path / "pipe"
    huge.write_bytes(b"#" * (MOST_BYTES + 1))
    os.mkfifo(pipe)

    def problem_of(path: Path) -> str:
        with pytest.raises(PolicyFileError) as refusal:
            load_policy_file(path)
        return str(refusal.value).removeprefix(f"policy file {path} ")

    assert problem_of(tmp_path / "none") == "cannot be read: No such file or directory"
    assert problem_of(tmp_path) == "cannot be read: Is a directory"
    assert problem_of(pipe) == "is not a file"
    assert problem_of(huge) == "is larger than 1 MiB, the most that is read"


def test_declaration_has_a_digest_of_what_it_says() -> None:
    digests = [
        parse(text).declare().digest for text in ("{}", "# same\npatterns: {}", "mode: audit")
    ]

    assert digests[0] == digests[1] != digests[2]


def test_version_is_the_same_however_a_policy_is_written() -> None:
    short = parse("patterns: {a: {type: scale-oscillation}, b: {type: cascading-failure}}")
    long = parse(
        "on_increase: warn\npatterns:\n  b: {type: cascading-failure, min_occurrences: 3,"
        " description: other}\n  a: {type: scale-oscillation, time_window_minutes: 120}"
    )

    assert short.as_policy().version == long.as_policy().version


def test_published_schema_is_current() -> None:
    published = json.loads((ROOT / "docs" / "policy.schema.json").read_text(encoding="utf-8"))

    assert published == make_json_schema(), "run: make schema"


def test_lines_are_those_of_keys_and_items() -> None:
    document = parse_document("a:\n  - b: 1\n  - c:\n      d: 2\n")

    assert document.line_of(("a", 1, "c", "d")) == 4
    assert document.line_of(("a", 1, "c", "missing")) == 3
    assert document.line_of(()) is None


def test_key_that_is_a_list_is_a_problem() -> None:
    with pytest.raises(YamlProblemError, match="line 1"):
        parse_document("? [a]\n: 1")


def test_agents_and_modes_are_taken_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("agents: {groups: [bots]}\nmode: audit")

    assert read_at_start(path) == Start(AgentRules(groups=("bots",)), DeclaredModes(Mode.AUDIT))
    assert read_at_start(None) == Start()


def test_agents_are_taken_at_the_start_whatever_else_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("agents: {groups: [bots]}\nmode: audti\npatterns: {a: 3}")

    assert read_at_start(path) == Start(AgentRules(groups=("bots",)))


@pytest.mark.parametrize("text", ["agents: {grops: [bots]}", "agents: {groups: bots", "", None])
def test_gate_does_not_start_where_the_agents_cannot_be_told(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "policy.yaml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(PolicyFileError, match=r"^policy file "):
        read_at_start(path)
