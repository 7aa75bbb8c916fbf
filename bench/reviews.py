"""The reviews that are sent: what an agent asks of a pool of workloads, rendered fast.

Most workloads only grow, step by step, and are admitted; some swing, and are refused now and then.
What was admitted is what the workload's next review shows as stored.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

_FIXTURES: Final = Path(__file__).parent.parent / "tests" / "webhook" / "fixtures"
# An agent looks after some workloads of a namespace, not after thousands in one.
WORKLOADS_PER_NAMESPACE: Final = 10
LEAST: Final = 4
_MOST: Final = 8
FIRST_VERSION: Final = 1000


class Kind(StrEnum):
    """What is sent: captured from a real API server, about 8 KB and 1.5 KB long."""

    DEPLOYMENT = "deployment"
    SCALE = "scale"


@dataclass(slots=True)
class Workload:
    """A workload as the API server would hold it."""

    namespace: bytes
    name: bytes
    uid: bytes
    swings: bool
    replicas: int = LEAST
    revision: int = 1
    asked_for: int = LEAST

    def choose(self) -> int:
        """Return the replicas that the agent asks for next; one that grows never asks twice."""
        if self.swings:
            return LEAST if self.replicas == _MOST else _MOST
        self.asked_for += 1
        return self.asked_for

    def store(self, replicas: int) -> None:
        """Take in an admitted change; of several at once by the same agent the highest stays."""
        self.replicas = replicas if self.swings else max(self.replicas, replicas)
        self.revision += 1


@dataclass(frozen=True, slots=True)
class Question:
    """One review: about which workload, what admitting it means, and its bytes."""

    workload: Workload
    replicas: int
    uid: bytes
    body: bytes


class Pool:
    """Workloads that take turns, so that one is asked about again only when all others were.

    None is asked about twice at a time, unless it is the only one: there have to be more workloads
    than connections.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        name: str,
        size: int,
        swinging_every: int = 0,
        age: int = 0,
        stride: int = 1,
    ) -> None:
        """Make workloads that grew `age` times before; of `stride` that there are, one is used."""
        self._template = _TEMPLATES[kind]
        self._turns = deque(
            Workload(
                namespace=b"%s-%d" % (name.encode(), number // WORKLOADS_PER_NAMESPACE),
                name=b"web-%d" % number,
                uid=b"00000000-0000-4000-8000-%012d" % number,
                swings=swinging_every > 0 and number % swinging_every == 0,
                replicas=LEAST + age,
                revision=1 + age,
                asked_for=LEAST + age,
            )
            for number in range(0, size * stride, stride)
        )
        self._is_hot = size == 1
        self._asked = 0
        self._name = name.encode()

    def ask(self) -> Question:
        """Return the next workload's next review."""
        workload = self._turns[0] if self._is_hot else self._turns.popleft()
        self._asked += 1
        replicas = workload.choose()
        uid = b"%s-%d" % (self._name, self._asked)
        body = self._template % {
            b"uid": uid,
            b"namespace": workload.namespace,
            b"name": workload.name,
            b"object_uid": workload.uid,
            b"resource_version": b"%d" % (FIRST_VERSION + workload.revision),
            b"before": b"%d" % workload.replicas,
            b"after": b"%d" % replicas,
            b"generation_before": b"%d" % workload.revision,
            b"generation_after": b"%d" % (workload.revision + 1),
        }
        return Question(workload, replicas, uid, body)

    def settle(self, question: Question, *, is_admitted: bool) -> None:
        """Take in an answer: what was admitted is stored from now on."""
        if is_admitted:
            question.workload.store(question.replicas)
        if not self._is_hot:
            self._turns.append(question.workload)


def _make_template(fixture: str) -> bytes:
    """Return a captured review, compact as the API server sends it, to be filled in with `%`."""
    review = json.loads((_FIXTURES / f"{fixture}.json").read_text(encoding="utf-8"))
    request = review["request"]
    request.update(uid="<uid>", namespace="<namespace>", name="<name>")
    for side, body in (("before", request["oldObject"]), ("after", request["object"])):
        metadata = body["metadata"]
        metadata.update(
            namespace="<namespace>",
            name="<name>",
            uid="<object_uid>",
            resourceVersion="<resource_version>",
        )
        body["spec"]["replicas"] = f"<{side}>"
        if "generation" in metadata:
            metadata["generation"] = f"<generation_{side}>"
    text = json.dumps(review, separators=(",", ":")).replace("%", "%%")
    numbers = ("before", "after", "generation_before", "generation_after")
    for name in numbers:
        text = text.replace(f'"<{name}>"', f"%({name})b")
    for name in ("uid", "namespace", "name", "object_uid", "resource_version"):
        text = text.replace(f"<{name}>", f"%({name})b")
    return text.encode()


_TEMPLATES: Final[Mapping[Kind, bytes]] = {
    Kind.DEPLOYMENT: _make_template("deployment-update-replicas"),
    Kind.SCALE: _make_template("deployment-scale"),
}
