"""A policy file that breaks, grows, vanishes and is replaced while two replicas decide by it."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import orjson

from tests.faults.stand import Replica, Stand, make_workloads, wait_until
from tests.faults.storage import Storage, action_id_of, fetch

# Both patterns of a policy trip on the same change, so a review shows three places at once: the
# modes, and the rows of two patterns.
POLICY = """
mode: {mode}
patterns:
  first: {{type: scale-oscillation, strategy: {{name: {strategy}}}}}
  second: {{type: scale-oscillation, strategy: {{name: {strategy}}}}}
"""
GOOD = POLICY.format(mode="enforce", strategy="block-action")
NEXT = POLICY.format(mode="audit", strategy="cooling-period")
HUGE = NEXT + "".join(f"  p{n}: {{type: scale-oscillation}}\n" for n in range(8998))
BROKEN: dict[str, Callable[[Path], object]] = {
    "did you mean mode?": lambda path: replace_file(path, NEXT.replace("mode", "moed", 1)),
    "larger than 1 MiB": lambda path: replace_file(path, NEXT + "#" * (1024 * 1024)),
    "at most 64 patterns, there are 9000": lambda path: replace_file(path, HUGE),
    "No such file": lambda path: path.unlink(),
}


@dataclass(frozen=True)
class Judged:
    """One review as it was answered, and the objections on record of it."""

    answer: str
    objections: frozenset[tuple[str, str]]
    patterns: int


BY_GOOD = Judged("denied", frozenset({("enforce", "block-action")}), 2)
BY_NEXT = Judged("admitted", frozenset({("audit", "cooling-period")}), 2)


class Loops:
    """Agents that run into a loop, each on a workload of its own, for as long as they are let."""

    def __init__(self, stand: Stand, replicas: list[Replica]) -> None:
        self._stand = stand
        self._replicas = replicas
        self._numbers = count()
        self._answers: dict[str, str] = {}
        self._replica_of: dict[str, int] = {}

    async def run(self) -> None:
        """Go on until cancelled, through one replica and the other in turn."""
        while True:
            await self.run_once()

    async def run_once(self) -> None:
        """Take a new workload from 5 to 3, back, and ask to go once more."""
        number = next(self._numbers)
        storage = Storage(make_workloads(1, prefix=f"loop-{number}")[0])
        chosen = number % len(self._replicas)
        for wanted in (3, 5):
            await storage.scale(self._replicas[chosen], wanted)
        last = await storage.scale(self._replicas[chosen], 3)
        assert last is not None
        action_id = action_id_of(last)
        assert action_id is not None
        self._answers[action_id] = "admitted" if last.is_allowed else "denied"
        self._replica_of[action_id] = chosen

    async def read(self, *, after: int = 0) -> list[tuple[int, Judged]]:
        """Return the answers by replica, oldest first, without the first `after`."""
        ids = list(self._answers)[after:]
        rows = await fetch(
            self._stand,
            "SELECT action_id::text, decision FROM resource_action_traces"
            " WHERE action_id = ANY ($1::text[]::uuid[])",
            ids,
        )
        decisions = {row["action_id"]: orjson.loads(row["decision"]) for row in rows}
        return [(self._replica_of[i], self._judged(i, decisions[i])) for i in ids]

    @property
    def made(self) -> int:
        """Return how many workloads were asked about to the end."""
        return len(self._answers)

    def _judged(self, action_id: str, decision: dict[str, list[dict[str, str]]]) -> Judged:
        objections = decision["objections"]
        return Judged(
            self._answers[action_id],
            frozenset((each["mode"], each["strategy"]) for each in objections),
            len(objections),
        )


def replace_file(path: Path, content: str) -> None:
    """Put a file in its place as a whole, as a kubelet does."""
    written = path.with_suffix(".new")
    written.write_text(content)
    written.replace(path)


async def test_the_last_good_policy_stays_and_no_review_is_decided_by_a_mixture(
    stand: Stand,
) -> None:
    policy = stand.directory / "policy.yaml"
    replace_file(policy, GOOD)
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(
                stand.replica(name, policy_file=policy, patterns_refresh_seconds=1, outcomes=False)
            )
            for name in ("one", "two")
        ]
        for replica in replicas:
            await stand.wait_until_ready(replica)
        loops = Loops(stand, replicas)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(loops.run())
            for words, damage in BROKEN.items():
                damage(policy)
                await wait_until(partial(all_are_ready_and_say, replicas, words))
                await wait_until(partial(has_made, loops, loops.made + 4))
            steady = loops.made
            replace_file(policy, NEXT)
            await wait_until(partial(all_decide_by_next, loops, steady))
            await wait_until(partial(all_are_content, replicas))
            running.cancel()

        assert {judged for _, judged in (await loops.read())[:steady]} == {BY_GOOD}
        assert {judged for _, judged in await loops.read(after=steady)} <= {BY_GOOD, BY_NEXT}
        for replica in replicas:
            assert await replica.count("gate_admission_failures_total") == 0
            assert replica.events("policy_file.unusable")


async def all_are_ready_and_say(replicas: list[Replica], words: str) -> bool:
    """Tell whether every replica is ready, and says what is wrong with the file."""
    said = [await replica.ask("/readyz") for replica in replicas]
    return all(text.startswith("ok") and words in text for text in said)


async def all_are_content(replicas: list[Replica]) -> bool:
    """Tell whether no replica finds anything wrong with the file."""
    return not any([await replica.count("gate_policy_file_unusable") for replica in replicas])


async def has_made(loops: Loops, number: int) -> bool:
    return loops.made >= number


async def all_decide_by_next(loops: Loops, after: int) -> bool:
    found = await loops.read(after=after)
    return {replica for replica, judged in found[-4:] if judged == BY_NEXT} == {0, 1}
