"""Arbitrary lines and entries changed at random: counted or decided, never a crash."""

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.replay.call import UnreadableError
from gate.replay.entry import read_line
from gate.replay.page import write_page
from gate.replay.reader import Reader
from gate.replay.report import Report
from gate.replay.run import Replay
from gate.replay.summary import Summary
from gate.replay.timeline import Timelines
from tests.replay.logs import AGENTS, default_policy, make_entry, make_event, read_captured

POLICY = default_policy()
NAMES = ["spec", "replicas", "name", "op", "path", "$patch"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, -1, 2**63, 2**64, 10**30, "1Gi", "", "\0", "All", "scale", "delete"])
    | st.floats()
    | st.text(max_size=12)
    | st.text(max_size=4).map(lambda text: f"/spec/{text}"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=6)
            | st.sampled_from(["spec", "replicas", "name", "op", "path", "$patch"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
PATCH = {"spec": {"replicas": 3}}
ENTRIES = [
    *read_captured(),
    make_entry(request=PATCH),
    make_event(request=[{"op": "replace", "path": "/spec/replicas", "value": 3}]),
]


def put_anywhere(draw: st.DrawFn, entry: Any) -> Any:
    """Replace one value at some depth of an entry."""
    value = draw(VALUES)
    parent = entry
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        if not keys:
            return entry
        key = draw(st.sampled_from(keys))
        inner = parent[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 3)) == 0:
            parent[key] = value
            return entry
        parent = inner


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Draw an entry with some values replaced, or any bytes at all."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
    entry = copy.deepcopy(draw(st.sampled_from(ENTRIES)))
    for _ in range(draw(st.integers(0, 3))):
        entry = put_anywhere(draw, entry)
    return json.dumps(entry).encode()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(lines(), min_size=1, max_size=12))
def test_no_log_crashes_a_replay(drawn: list[bytes]) -> None:
    replayed = Replay((POLICY,), AGENTS)
    summary, timelines = Summary(), Timelines()
    for line in drawn:
        try:
            calls = list(read_line(line))
        except UnreadableError:
            continue
        for call in calls:
            for decided in replayed.take(call):
                json.dumps(decided.rows[0].as_json())
                summary.take(decided.rows[0])
                timelines.take(decided.rows[0])
    report = Report(
        Reader((), progress=lambda _: None), replayed, summary, timelines, ("*",), "default"
    )
    assert "".join(write_page(report)).endswith("</html>\n")


def test_an_entry_nested_without_end_is_told() -> None:
    deep = '{"a":' * 500 + "1" + "}" * 500
    line = json.dumps(make_event()).replace('"requestObject": null', f'"requestObject": {deep}')

    with pytest.raises(UnreadableError, match=r"^its bodies are nested too deeply$"):
        list(read_line(line.encode()))
