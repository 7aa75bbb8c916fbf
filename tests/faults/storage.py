"""A workload behind an API server: of writes that race for one state, one wins."""

from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.faults.stand import Replica, Stand, Timed
from tests.reviews import AGENT, Body, StoredWorkload

_ID = "action-id"


@dataclass(frozen=True)
class Answer:
    """What one review was answered: on which stored state, and under which trace."""

    state: str
    is_allowed: bool
    action_id: str | None


@dataclass
class Storage:
    """Keeps one workload as an API server does; who comes too late is reviewed once more."""

    workload: StoredWorkload
    answers: list[Answer] = field(default_factory=list)
    values: list[int] = field(default_factory=list)

    @property
    def state(self) -> str:
        """Return the present resourceVersion."""
        return str(self.workload.body["metadata"]["resourceVersion"])

    async def scale(self, replica: Replica, replicas: int, *, user: str = AGENT) -> Timed | None:
        """Patch replicas as an agent, and return the last answer; None where they are so already.

        An API server reviews a patch anew for as long as others write first.
        """
        last = None
        while self.workload.replicas != replicas:
            state, review = self.state, self.workload.scale(replicas, user=user)
            last = await self.ask(replica, review)
            if not last.is_allowed:
                return last
            if state == self.state:
                self.workload.persist(review)
                self.values.append(replicas)
        return last

    async def ask(self, replica: Replica, review: Body) -> Timed:
        """Have a change reviewed, and leave it at that."""
        state = self.state
        answer = await replica.send(review, limit=10)
        self.answers.append(Answer(state, answer.is_allowed, action_id_of(answer)))
        return answer

    def move(self, replicas: int) -> None:
        """Set replicas past gate, as a person does."""
        self.workload.persist(self.workload.scale(replicas))
        self.values.append(replicas)


def action_id_of(answer: Timed) -> str | None:
    """Return the trace that an answer names."""
    audit: dict[str, Any] = answer.reply.response.get("auditAnnotations", {})
    return audit.get(_ID)


async def fetch(stand: Stand, query: str, *arguments: object) -> list[asyncpg.Record]:
    """Ask the database of a stand."""
    connection = await asyncpg.connect(stand.dsn)
    try:
        return await connection.fetch(query, *arguments)
    finally:
        await connection.close()


async def assert_no_deadlock_and_no_error(stand: Stand) -> None:
    """Look at the server's log and counters: nothing went round in a circle, nothing failed."""
    (row,) = await fetch(stand, "SELECT sum(deadlocks) AS deadlocks FROM pg_stat_database")
    log = (stand.directory / "database" / "postgres" / "server.log").read_text()
    assert row["deadlocks"] == 0
    assert "database system is ready" in log
    assert [line for line in log.splitlines() if "deadlock" in line or "ERROR:" in line] == []
