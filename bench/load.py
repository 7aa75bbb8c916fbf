"""The load generator, a process of its own: reads one run a line, answers each with one line.

A closed loop keeps every connection busy. An open loop asks at fixed times whatever happens, and
counts from the time a request was due: waiting for a free connection is part of the latency.
"""

import asyncio
import json
import socket
import ssl
import sys
import threading
import time
from array import array
from collections import deque
from dataclasses import asdict, dataclass
from typing import Final

import uvloop

from bench.line import Line
from bench.reviews import Kind, Pool, Question

_ANSWER_WITHIN: Final = 15.0  # seconds after the last request
# What was sent later than this, in seconds, after it was due is counted as late.
_LATE: Final = 0.005


@dataclass(frozen=True, slots=True)
class Target:
    """Where reviews are sent."""

    port: int
    path: str
    ca_file: str
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement; `rate` is reviews per second, None for a closed loop.

    Times are in seconds; what falls into the first `warm_up` of them is not measured. It also ends
    after `at_most` reviews.
    """

    target: Target
    pool: str
    kind: Kind = Kind.DEPLOYMENT
    workloads: int = 1000
    swinging_every: int = 0
    age: int = 0
    stride: int = 1
    connections: int = 1
    rate: float | None = None
    seconds: float = 2.0
    warm_up: float = 0.3
    at_most: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Fared:
    """How a run went: latencies in milliseconds, and what became of everything that was sent.

    `per_second`, `measured` and the latencies are without the warm-up. `wrong` are answers that are
    no verdict on what was asked, `lost` requests without any answer, `late` those sent later than
    they were due.
    """

    per_second: float
    p50: float
    p90: float
    p99: float
    longest: float
    measured: int
    admitted: int
    refused: int
    wrong: int
    lost: int
    late: int


class _Load:
    """Asks, and notes how every question fared."""

    def __init__(self, run: Run, pool: Pool, tasks: asyncio.TaskGroup) -> None:
        self._run = run
        self._pool = pool
        self._tasks = tasks
        self._tls = ssl.create_default_context(cafile=run.target.ca_file)
        self._head = (
            f"POST {run.target.path} HTTP/1.1\r\nHost: {run.target.host}:{run.target.port}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).replace("%", "%%").encode() + b"%d\r\n\r\n"
        self._lines: set[Line] = set()
        self._free: deque[Line] = deque()
        self._waiting: deque[float] = deque()
        self._latencies = array("d")
        self._asked = self._admitted = self._refused = self._wrong = self._lost = self._late = 0
        self._left = run.at_most
        self._started = self._measured_from = self._ends = self._last_answer = float("inf")
        self._is_over = asyncio.Event()

    async def measure(self) -> Fared:
        """Connect, ask until the time is over, and wait for the last answers."""
        for _ in range(self._run.connections):
            await self._connect()
        self._started = time.perf_counter()
        self._measured_from = self._started + self._run.warm_up
        self._ends = self._measured_from + self._run.seconds
        try:
            async with asyncio.timeout(self._ends - self._started + _ANSWER_WITHIN):
                if self._run.rate is None:
                    self._ask_all()
                else:
                    await self._ask_in_time(self._run.rate)
                await self._is_over.wait()
        except TimeoutError:
            self._lost += self._count_unanswered()
        self._is_over.set()
        for line in tuple(self._lines):
            line.close()
        return self._describe()

    def offer(self, line: Line) -> None:
        """Use a free connection for what is due, or keep it."""
        if self._is_over.is_set():
            line.close()
            return
        self._lines.add(line)
        now = time.perf_counter()
        if self._waiting:
            self._ask(line, due=self._waiting.popleft(), now=now)
        elif self._run.rate is None and self._started <= now < self._ends and self._left > 0:
            self._left -= 1
            self._ask(line, due=now, now=now)
        else:
            self._free.append(line)
            self._look_for_end(now)

    def take(self, question: Question, *, due: float, head: bytes, body: bytes) -> None:
        """Note an answer."""
        now = self._last_answer = time.perf_counter()
        is_right = head.startswith(b"HTTP/1.1 200") and b'"%b"' % question.uid in body
        is_admitted = is_right and b'"allowed":true' in body
        self._pool.settle(question, is_admitted=is_admitted)
        self._wrong += not is_right
        self._admitted += is_admitted
        self._refused += is_right and not is_admitted
        if due >= self._measured_from:
            self._latencies.append(now - due)

    def replace(self, line: Line, lost: Question | None) -> None:
        """Count what a broken connection took with it, and make another one."""
        self._lines.discard(line)
        if line in self._free:
            self._free.remove(line)
        if lost is not None:
            self._lost += 1
            self._pool.settle(lost, is_admitted=False)
        if not self._is_over.is_set():
            self._tasks.create_task(self._connect())

    def _ask(self, line: Line, *, due: float, now: float) -> None:
        self._asked += 1
        self._late += now - due > _LATE
        line.send(self._pool.ask(), head=self._head, due=due)

    async def _connect(self) -> None:
        target = self._run.target
        await asyncio.get_running_loop().create_connection(
            lambda: Line(self), target.host, target.port, ssl=self._tls
        )

    def _ask_all(self) -> None:
        free, self._free = self._free, deque()
        for line in free:
            self.offer(line)

    async def _ask_in_time(self, rate: float) -> None:
        """Ask at every beat of a thread; the timers of loops count whole milliseconds."""
        count = self._left = int((self._ends - self._started) * rate)
        here, there = socket.socketpair()
        here.setblocking(False)  # noqa: FBT003 - the library's signature
        thread = threading.Thread(
            target=_beat, args=(there, self._started, rate, count), daemon=True
        )
        thread.start()
        with here, there:
            while self._left > 0:
                beats = len(await asyncio.get_running_loop().sock_recv(here, 4096))
                for beat in range(count - self._left, count - self._left + beats):
                    self._ask_or_wait(self._started + beat / rate)
                self._left -= beats
            await asyncio.to_thread(thread.join)

    def _ask_or_wait(self, due: float) -> None:
        if self._free:
            self._ask(self._free.popleft(), due=due, now=time.perf_counter())
        else:
            self._waiting.append(due)

    def _count_unanswered(self) -> int:
        answered = self._admitted + self._refused + self._wrong + self._lost
        return self._asked - answered + len(self._waiting)

    def _look_for_end(self, now: float) -> None:
        has_asked_all = self._left == 0 or (self._run.rate is None and now >= self._ends)
        if has_asked_all and self._count_unanswered() == 0:
            self._is_over.set()

    def _describe(self) -> Fared:
        took = sorted(self._latencies) or [0.0]
        lasted = self._last_answer - self._measured_from
        return Fared(
            per_second=len(self._latencies) / lasted if self._latencies else 0.0,
            p50=took[len(took) // 2] * 1e3,
            p90=took[int(len(took) * 0.9)] * 1e3,
            p99=took[int(len(took) * 0.99)] * 1e3,
            longest=took[-1] * 1e3,
            measured=len(self._latencies),
            admitted=self._admitted,
            refused=self._refused,
            wrong=self._wrong,
            lost=self._lost,
            late=self._late,
        )


def _beat(sink: socket.socket, started: float, rate: float, count: int) -> None:
    for beat in range(count):
        pause = started + beat / rate - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        sink.send(b".")


async def _measure(run: Run, pool: Pool) -> Fared:
    async with asyncio.TaskGroup() as tasks:
        return await _Load(run, pool, tasks).measure()


def main() -> None:
    """Do the runs that come in, one JSON object a line; pools of one name are one pool."""
    pools: dict[str, Pool] = {}
    for line in sys.stdin:
        given = json.loads(line)
        run = Run(**{**given, "target": Target(**given["target"]), "kind": Kind(given["kind"])})
        if run.pool not in pools:
            pools[run.pool] = Pool(
                run.kind,
                name=run.pool,
                size=run.workloads,
                swinging_every=run.swinging_every,
                age=run.age,
                stride=run.stride,
            )
        sys.stdout.write(json.dumps(asdict(uvloop.run(_measure(run, pools[run.pool])))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
