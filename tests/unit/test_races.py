"""Changes that race, fail after gate, or look alike: nothing is counted that did not happen."""

import asyncio
import copy
from datetime import datetime, timedelta

from gate.domain.change import Operation
from gate.domain.record import Write
from gate.domain.trace import History
from gate.ports.histories import Question
from tests.fakes.histories import MemoryHistories
from tests.reviews import Body, make_scale
from tests.timeline import Outcome, Timeline, make_request, minute, start_timeline

SECOND = timedelta(seconds=1)


class SlowHistories(MemoryHistories):
    """Histories that take a turn of the event loop, and count the writes that came too late."""

    lost = 0

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        found = await super().read(question, now=now, deadline=deadline)
        await asyncio.sleep(0)
        return found

    async def record(self, write: Write, *, deadline: float) -> bool:
        is_written = await super().record(write, deadline=deadline)
        self.lost += not is_written
        return is_written


async def race(timeline: Timeline, shown: Body, *values: int) -> list[Outcome]:
    """Let an agent send changes at once, all of them judged on one state of the object."""
    outcomes = []
    for number, replicas in enumerate(values):
        new = copy.deepcopy(shown)
        new["spec"]["replicas"] = replicas
        request = make_request(Operation.UPDATE, old=shown, new=new, subresource="scale")
        event = await timeline.review(request, at=minute(0) + number * SECOND / 100)
        outcomes.append(event.outcome)
    return outcomes


async def test_racing_changes_of_which_one_persists_are_not_contested() -> None:
    timeline = await start_timeline(replicas=5, subresource="scale")
    first = make_scale(timeline.body)
    await race(timeline, first, *range(6, 26))
    timeline.move(25)

    again = await race(timeline, make_scale(timeline.body), *range(26, 40))
    late = await race(timeline, first, *range(26, 40))

    assert set(again) == set(late) == {Outcome.ADMITTED}


async def test_change_seen_on_an_outdated_state_opens_no_detection() -> None:
    timeline = await start_timeline(replicas=5, subresource="scale")
    outdated = make_scale(timeline.body)
    await timeline.scale(3, at=minute(0) - 20 * SECOND)
    await timeline.scale(5, at=minute(0) - 10 * SECOND)

    event = await race(timeline, outdated, 3)

    assert event == [Outcome.ADMITTED]
    assert not any(recording.opens for recording in timeline.recordings)


async def test_loop_goes_on_being_refused_after_the_cluster_was_restored() -> None:
    timeline = await start_timeline(replicas=5)
    await timeline.scale(3, at=minute(0))
    await timeline.scale(5, at=minute(10))
    timeline.body["metadata"] |= {"generation": 1, "resourceVersion": "7"}

    event = await timeline.scale(3, at=minute(20))

    assert event.outcome is Outcome.REFUSED


async def test_creation_of_what_exists_is_no_swing() -> None:
    timeline = await start_timeline(replicas=5)
    await timeline.scale(3, at=minute(0))
    stored = copy.deepcopy(timeline.body)
    await timeline.create(5, at=minute(1))
    timeline.body = stored

    event = await timeline.scale(2, at=minute(2))

    assert event.outcome is Outcome.ADMITTED


async def test_label_that_comes_and_goes_leaves_a_trace_each_time() -> None:
    timeline = await start_timeline(replicas=5)
    plain = copy.deepcopy(timeline.body)
    labelled = copy.deepcopy(plain)
    labelled["metadata"].setdefault("labels", {})["tier"] = "gold"

    for number, body in enumerate((labelled, plain, labelled, plain)):
        await timeline.edit(body, at=minute(0) + number * SECOND / 10)

    assert len(timeline.recordings) == 4


async def test_refusal_by_an_earlier_detection_names_this_change_and_what_is_admitted() -> None:
    timeline = await start_timeline(replicas=5)
    await timeline.scale(3, at=minute(0))
    await timeline.scale(5, at=minute(10))
    await timeline.scale(3, at=minute(20))

    event = await timeline.scale(41, at=minute(21))

    seen = event.reviewed.answer.message.splitlines()[1]
    assert seen.startswith("Seen: scale-oscillation: replicas 5 → 41 while an earlier detection")
    assert "An increase up to 10 replicas is admitted" in event.reviewed.answer.message


async def test_path_of_a_refusal_shows_what_somebody_else_did() -> None:
    timeline = await start_timeline(replicas=5)
    await timeline.scale(3, at=minute(0))
    await timeline.scale(5, at=minute(10))
    timeline.move(20)

    event = await timeline.scale(2, at=minute(20))

    assert "replicas went 5 → 3 → 5 → 20 in 20 min, and 20 → 2" in event.reviewed.answer.message


async def test_requests_for_one_workload_take_turns_and_lose_no_comparison() -> None:
    histories = SlowHistories()
    timeline = await start_timeline(replicas=5, histories=histories)
    old = timeline.body

    async with asyncio.TaskGroup() as tasks:
        for replicas in range(6, 26):
            new = copy.deepcopy(old)
            new["spec"]["replicas"] = replicas
            request = make_request(Operation.UPDATE, old=old, new=new)
            tasks.create_task(timeline.review(request, at=minute(0)))

    assert histories.lost == 0
    assert len(timeline.recordings) == 20
