"""A running webhook with everything a test wants to turn or look at."""

import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gate.domain.pattern import Mode, Pattern, PatternType, Strategy
from gate.domain.policy import FailureMode
from gate.domain.seal import Seal
from gate.ports.policy import DeclaredModes
from gate.spool.absent import AbsentSpool
from gate.telemetry import Metrics
from gate.webhook.handler import make_review_handler
from gate.webhook.server import Server
from tests.admissions import make_admission
from tests.fakes.histories import MemoryHistories
from tests.webhook.tls import HOST, TestAuthority

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
TOKEN = "Zm9yIHRlc3Rz"  # noqa: S105 - accepted by the servers of these tests alone
OLD_TOKEN = "dGhlIG9uZSBiZWZvcmU"  # noqa: S105 - as above
FIXTURES = Path(__file__).parent / "fixtures"
SCALE_OSCILLATION = Pattern(
    id=1,
    type=PatternType.SCALE_OSCILLATION,
    name="scale-oscillation",
    min_occurrences=3,
    window=timedelta(minutes=120),
    strategy=Strategy.COOLING_PERIOD,
    own_end=timedelta(minutes=30),
)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **units: float) -> None:
        self.now += timedelta(**units)


@dataclass(frozen=True)
class Reply:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def review(self) -> dict[str, Any]:
        """Return the body as JSON."""
        review: dict[str, Any] = json.loads(self.text)
        return review

    @property
    def response(self) -> dict[str, Any]:
        """Return the `response` of the review."""
        response: dict[str, Any] = self.review["response"]
        return response

    @property
    def is_allowed(self) -> bool:
        """Tell whether the change was admitted."""
        return self.response["allowed"] is True


@dataclass
class Gateway:
    """One webhook under test."""

    server: Server
    session: aiohttp.ClientSession
    histories: MemoryHistories
    metrics: Metrics
    clock: Clock

    @property
    def url(self) -> str:
        """Return the URL that the API server would be given."""
        return f"https://{HOST}:{self.server.port}/validate/{TOKEN}"

    async def send(self, review: object, *, limit: str = "3s") -> Reply:
        """Send one review as the API server does."""
        return await self.post(json.dumps(review).encode(), limit=limit)

    async def post(
        self,
        body: Any,
        *,
        limit: str | None = "3s",
        url: str | None = None,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send any request at all."""
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.session.request(
            method,
            url or self.url,
            params=None if limit is None else {"timeout": limit},
            data=data,
            headers={"Content-Type": "application/json"} if headers is None else headers,
        ) as response:
            return Reply(response.status, dict(response.headers), await response.text())

    def exposed(self) -> str:
        """Return the metrics as they are exposed."""
        return self.metrics.expose().decode()

    def count(self, name: str, **labels: str) -> float:
        """Return the value of one counter, 0 where it was never counted."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        for line in self.exposed().splitlines():
            series, _, value = line.rpartition(" ")
            metric, _, given = series.partition("{")
            if metric == name and wanted == set(filter(None, given.rstrip("}").split(","))):
                return float(value)
        return 0.0


@asynccontextmanager
async def running_gateway(
    authority: TestAuthority,
    *,
    histories: MemoryHistories | None = None,
    mode: Mode = Mode.ENFORCE,
    patterns: tuple[Pattern, ...] = (SCALE_OSCILLATION,),
    chance: float = 0.5,
    failure_mode: FailureMode = FailureMode.OPEN,
) -> AsyncIterator[Gateway]:
    """Serve the real admission on a free port; `chance` is what every draw of luck gives."""
    histories = MemoryHistories() if histories is None else histories
    clock, metrics = Clock(), Metrics()
    admission = await make_admission(
        histories,
        clock=clock,
        seal=Seal(bytes(32)),
        patterns=patterns,
        modes=DeclaredModes(mode=mode, failure_mode=failure_mode),
        effectiveness={},
        spool=AbsentSpool(),
    )
    handler = make_review_handler(
        admission,
        metrics=metrics,
        token_source=lambda: frozenset({TOKEN, OLD_TOKEN}),
        mode=mode,
    )
    server = Server(
        handler, host=HOST, port=0, ssl_context=authority.serve(), chance=lambda: chance
    )
    await server.start()
    connector = aiohttp.TCPConnector(ssl=authority.trust())
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Gateway(server, session, histories, metrics, clock)
    finally:
        await server.stop()


async def serve_nothing(_: web.BaseRequest) -> web.Response:
    """Answer that nothing is found, whatever is asked."""
    return web.Response(status=404)


def read_fixture(name: str) -> dict[str, Any]:
    """Return a review captured from a real API server."""
    review: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_bytes())
    return review
