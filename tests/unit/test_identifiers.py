"""Ids of traces tell their time."""

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from gate.services.identifiers import RANDOM_BYTES, make_action_id, time_of
from tests.timeline import minute, start_timeline

_bounded = settings(deadline=None, max_examples=200, derandomize=True)
_instants = st.integers(0, 250 * 10**15).map(  # up to the year 9892
    lambda number: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=number)
)
_randomness = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@_bounded
@given(_instants, _randomness)
def test_id_is_a_uuid_of_version_7_and_the_rfcs_variant(now: datetime, randomness: bytes) -> None:
    action_id = UUID(make_action_id(now, randomness))

    assert (action_id.version, action_id.variant) == (7, RFC_4122)


@_bounded
@given(_instants, _randomness)
def test_id_tells_its_time_to_the_millisecond(now: datetime, randomness: bytes) -> None:
    told = time_of(make_action_id(now, randomness))

    assert told == now.replace(microsecond=now.microsecond // 1000 * 1000)
    assert time_of(make_action_id(told, randomness)) == told


@_bounded
@given(_instants, _instants, _randomness, _randomness)
def test_later_milliseconds_make_greater_ids(
    one: datetime, other: datetime, first: bytes, second: bytes
) -> None:
    earlier, later = sorted((one, other))
    left, right = make_action_id(earlier, first), make_action_id(later, second)

    if time_of(left) < time_of(right):
        assert left < right
        assert UUID(left) < UUID(right)


@_bounded
@given(_instants, _randomness, _randomness)
def test_74_random_bits_keep_ids_of_one_instant_apart(
    now: datetime, first: bytes, second: bytes
) -> None:
    mask = ~(0xF << 76 | 0x3 << 62) & (1 << 80) - 1
    is_same = int.from_bytes(first) & mask == int.from_bytes(second) & mask

    assert (make_action_id(now, first) == make_action_id(now, second)) is is_same


def test_known_instant_makes_a_known_id() -> None:
    now = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)

    assert make_action_id(now, bytes(10)) == "017f22e2-79b0-7000-8000-000000000000"
    assert make_action_id(now, b"\xff" * 10) == "017f22e2-79b0-7fff-bfff-ffffffffffff"


async def test_trace_was_seen_at_exactly_the_time_inside_its_id() -> None:
    timeline = await start_timeline()

    await timeline.scale(9, at=minute(1) + timedelta(microseconds=1999))

    (recording,) = timeline.recordings
    assert time_of(recording.trace.action_id) == recording.trace.seen.at
    assert recording.trace.seen.at == minute(1) + timedelta(milliseconds=1)
