"""What an agent says in annotations: within bounds, and only where it says it now."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.domain.change import Operation
from gate.domain.context import Context, read_context
from gate.domain.snapshot import CONTEXT_PREFIX
from tests.reviews import make_body
from tests.timeline import make_request, minute, start_timeline

_ALL = {
    "alert-name": "HighMemory",
    "alert-severity": "critical",
    "model": "granite-3",
    "confidence": "0.85",
    "reasoning": "memory is at 95 %",
    "correlation-id": "abc-1",
}
_READ = Context(
    alert_name="HighMemory",
    alert_severity="critical",
    model="granite-3",
    confidence=0.85,
    reasoning="memory is at 95 %",
    correlation_id="abc-1",
)


def annotations(**given: str) -> dict[str, str]:
    """Return context annotations, underscores for hyphens."""
    return {CONTEXT_PREFIX + name.replace("_", "-"): text for name, text in given.items()}


def prefixed(given: dict[str, str]) -> dict[str, str]:
    return {CONTEXT_PREFIX + name: text for name, text in given.items()}


def read(**given: str) -> Context:
    """Read annotations that are all new."""
    return read_context(before={}, after=annotations(**given))


def test_all_annotations_are_read_where_they_are_new() -> None:
    assert read_context(before={}, after=prefixed(_ALL)) == _READ


@pytest.mark.parametrize("name", _ALL)
def test_all_annotations_count_where_any_one_changed(name: str) -> None:
    before = prefixed({**_ALL, name: "1"})

    assert read_context(before=before, after=prefixed(_ALL)) == _READ


def test_no_annotation_counts_where_none_changed() -> None:
    after = {**prefixed(_ALL), "example.com/other": "changed"}

    assert read_context(before=prefixed(_ALL), after=after) == Context()


def test_removed_annotations_say_nothing() -> None:
    assert read_context(before=prefixed(_ALL), after={}) == Context()


@pytest.mark.parametrize(
    ("name", "field", "limit"),
    [
        ("alert-name", "alert_name", 200),
        ("model", "model", 100),
        ("reasoning", "reasoning", 4000),
        ("correlation-id", "correlation_id", 64),
    ],
)
def test_text_is_cut_to_its_limit_and_the_trace_says_so(name: str, field: str, limit: int) -> None:
    whole = read_context(before={}, after=prefixed({name: "é" * limit}))
    cut = read_context(before={}, after=prefixed({name: "é" * (limit + 1)}))

    assert getattr(whole, field) == getattr(cut, field) == "é" * limit
    assert whole.problems == ()
    assert cut.problems == (f"{name} was {limit + 1} characters long and is cut to {limit}",)


def test_two_megabytes_of_reasoning_are_cut() -> None:
    context = read(reasoning="x" * 2_000_000)

    assert context.reasoning == "x" * 4000
    assert context.problems == ("reasoning was 2000000 characters long and is cut to 4000",)


@pytest.mark.parametrize("text", ["7", "-0.1", "1.0001", "nan", "inf", "high", "", "0,5"])
def test_confidence_outside_its_range_is_dropped_and_the_trace_says_so(text: str) -> None:
    context = read(confidence=text)

    assert context.confidence is None
    assert context.problems == ("confidence is not a number from 0 to 1 and is dropped",)


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0.0), ("1", 1.0), (" 0.5 ", 0.5), ("1e-3", 0.001)]
)
def test_confidence_within_its_range_is_kept(text: str, number: float) -> None:
    assert read(confidence=text) == Context(confidence=number)


@pytest.mark.parametrize("text", ["Critical", "page", ""])
def test_unknown_severity_is_dropped_and_the_trace_says_so(text: str) -> None:
    context = read(alert_severity=text)

    assert context.alert_severity is None
    assert context.problems == ("alert-severity is none of info, warning, critical and is dropped",)


def test_characters_that_cannot_be_stored_are_replaced_and_the_trace_says_so() -> None:
    context = read(alert_name="a\0b\ud800c\nd", reasoning="'; DROP TABLE %s <b>")

    assert context.alert_name == "a\ufffdb\ufffdc\nd"
    assert context.reasoning == "'; DROP TABLE %s <b>"
    assert context.problems == (
        "alert-name held characters that cannot be stored; U+FFFD stands for them",
    )


def test_empty_text_is_nothing_said() -> None:
    assert read(model="", reasoning="", alert_name="x") == Context(alert_name="x")


_texts = st.text(max_size=50) | st.sampled_from(["", "0.5", "critical", "\0" * 5000])


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.dictionaries(st.sampled_from([*_ALL, "unknown"]), _texts))
def test_no_annotation_ever_fails_an_admission(given_texts: dict[str, str]) -> None:
    context = read_context(before={}, after=prefixed(given_texts))

    for text in (context.alert_name, context.model, context.reasoning, context.correlation_id):
        assert text is None or (0 < len(text) <= 4000 and "\0" not in text)


async def test_context_and_its_problems_are_recorded_with_the_change() -> None:
    timeline = await start_timeline()
    body = make_body(replicas=7)
    body["metadata"]["annotations"] = annotations(model="m", confidence="7")

    await timeline.review(make_request(Operation.UPDATE, old=make_body(), new=body), at=minute(0))

    (recording,) = timeline.recordings
    assert recording.context.model == "m"
    assert recording.decision["input_problems"] == [
        "confidence is not a number from 0 to 1 and is dropped"
    ]


async def test_annotations_of_an_earlier_change_are_not_those_of_a_later_one() -> None:
    timeline = await start_timeline()
    timeline.body["metadata"]["annotations"] = annotations(model="m")

    await timeline.scale(7, at=minute(0))

    assert timeline.recordings[0].context == Context()
