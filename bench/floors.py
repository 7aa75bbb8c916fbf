"""What gate is measured against, as fast as it can be made.

The ceiling is the server stack alone: the same TLS, aiohttp, uvloop and orjson answer "allowed"
without looking at what they are asked. The statements are gate's own, issued by asyncpg one after
the other on one connection, by the admission service that also decides between them.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import asyncpg
import orjson
import uvloop
from aiohttp import web

from bench.reviews import Pool
from gate.app.admitting import Pools, build_admitting
from gate.domain.seal import Seal
from gate.domain.trace import Verdict
from gate.pki.serving import ServingPair
from gate.ports.policy import DeclaredModes
from gate.postgres import documents
from gate.services.admission import Admission, Governed
from gate.services.clock import utc_now
from gate.services.readiness import Readiness
from gate.settings.knobs import ServeSettings
from gate.telemetry import Metrics
from gate.webhook.review import Ungoverned, parse_review

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

_KEEP_ALIVE: Final = 120.0
_DEADLINE: Final = 10.0


async def _answer(http: web.BaseRequest) -> web.Response:
    review = orjson.loads(await http.read())
    body = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": True},
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json")


async def _serve(certificate: Path, key: Path) -> None:
    pair = ServingPair(certificate=certificate, key=key)
    pair.reload(now=utc_now())
    runner = web.ServerRunner(web.Server(_answer, access_log=None, keepalive_timeout=_KEEP_ALIVE))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=pair.context).start()
    sys.stdout.write(json.dumps({"event": "server.listening", "port": runner.addresses[0][1]}))
    sys.stdout.write("\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


class TimedConnection(_Connection):
    """A connection that notes how long each of its statements took, in seconds."""

    taken: ClassVar[list[float]] = []

    async def fetch(self, *arguments: Any, **options: Any) -> list[asyncpg.Record]:  # type: ignore[override]  # it passes on whatever is given
        """Run a statement."""
        started = time.perf_counter()
        rows: list[asyncpg.Record] = await super().fetch(*arguments, **options)
        self.taken.append(time.perf_counter() - started)
        return rows


async def _set_up(connection: _Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=documents.encode, decoder=documents.decode
        )


async def time_statements(settings: ServeSettings, pool: Pool, *, admissions: int) -> list[float]:
    """Return how long the statements of each of so many admissions took together, in seconds."""
    connections = await asyncpg.create_pool(
        settings.require_dsn(),
        min_size=1,
        max_size=1,
        connection_class=TimedConnection,
        init=_set_up,
    )
    async with connections:
        admission = await _make_admission(settings, connections)
        return [await _time_one(admission, pool) for _ in range(admissions)]


async def _time_one(admission: Admission, pool: Pool) -> float:
    question = pool.ask()
    review = parse_review(question.body)
    if isinstance(review, Ungoverned):
        raise TypeError("what is sent is not governed")
    TimedConnection.taken.clear()
    deadline = asyncio.get_running_loop().time() + _DEADLINE
    reviewed = await admission.review(review, deadline=deadline)
    pool.settle(question, is_admitted=reviewed.answer.verdict is Verdict.ALLOW)
    return sum(TimedConnection.taken)


async def _make_admission(
    settings: ServeSettings, connections: "asyncpg.Pool[asyncpg.Record]"
) -> Admission:
    admitting = build_admitting(
        settings,
        Pools(connections, connections),
        governed=Governed(settings.cluster or "", settings.agents.as_rules()),
        declared=DeclaredModes(),
        seal=Seal(settings.read_seal_key()),
        metrics=Metrics(),
        readiness=Readiness(),
    )
    await admitting.books.policies.run_once()
    return admitting.admission


def main() -> None:
    """Serve the ceiling with the certificate and key given."""
    certificate, key = map(Path, sys.argv[1:])
    uvloop.run(_serve(certificate, key))


if __name__ == "__main__":
    main()
