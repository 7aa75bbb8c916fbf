"""A disk that is full: what PostgreSQL cannot write, gate keeps and hands over later."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.stand import LATE, Replica, Stand, family_of, grow, make_workloads
from tests.faults.storage import fetch
from tests.faults.test_database import LIMIT

# What goes before: the server writes its log of changes into files of this size.
WAL_SEGMENT = 16 * 1024 * 1024
PAGE = 8192
KEPT = "recorded here until PostgreSQL takes it"

# One row a page, of a workload that is not asked about again.
FILL = """
INSERT INTO resource_action_traces
SELECT filler.*
FROM (SELECT * FROM resource_action_traces WHERE name = 'bulk-0' LIMIT 1) AS t
CROSS JOIN generate_series(1, $1::integer) AS number
CROSS JOIN LATERAL jsonb_populate_record(
    NULL::resource_action_traces,
    to_jsonb(t) || jsonb_build_object(
        'request_uid', 'filler',
        'action_id', left(t.action_id::text, 14) || right(md5(number::text)::uuid::text, 22)
    )
) AS filler
"""


@asynccontextmanager
async def full(stand: Stand) -> AsyncIterator[None]:
    """Let no file of the server grow beyond what the table of traces has.

    Whoever runs the tests may do that, and mount no small disk. Extending a file fails in the same
    place either way; where it is by ENOSPC, PostgreSQL's code is 53100 instead of XX000.
    """
    (table,) = await fetch(
        stand, "SELECT tableoid::regclass::text AS name FROM resource_action_traces LIMIT 1"
    )
    await stand.execute(f'ALTER TABLE "{table["name"]}" SET (fillfactor = 10)')
    await fetch(stand, FILL, WAL_SEGMENT // PAGE + 1)
    (size,) = await fetch(stand, "SELECT pg_relation_size($1::regclass) AS bytes", table["name"])
    await limit_files(stand, str(size["bytes"]))
    try:
        yield
    finally:
        await limit_files(stand, "unlimited")


async def limit_files(stand: Stand, most: str) -> None:
    """Set how large the files of a server may become, as its own account.

    The first of its processes makes the others, some of which may be gone by now.
    """
    calls = [f"prlimit --pid {pid} --fsize={most}:" for pid in family_of(stand.server)]
    await stand.execute(f"COPY (SELECT) TO PROGRAM '{'; '.join(calls)}; true'")


async def test_reviews_go_on_while_the_disk_is_full_and_nothing_is_lost(
    stand: Stand, replica: Replica
) -> None:
    old = make_workloads(3)
    before = await replica.send_all(map(grow, [*old, *make_workloads(1, prefix="bulk")]), limit=10)

    async with full(stand):
        during = []
        for wave in range(3):
            reviews = map(grow, [*old, *make_workloads(3, prefix=f"new-{wave}")])
            during += await replica.send_all(reviews, limit=LIMIT)
        spooled = await replica.count("gate_spool_entries")

    await replica.wait_until_flushed()
    after = await replica.send_all(map(grow, old), limit=10)

    assert all(each.is_allowed for each in (*before, *during, *after))
    assert max(each.took for each in during) < LIMIT + LATE
    assert [each.words for each in (*before, *after)] == [""] * 7
    assert all(KEPT in each.words for each in during[-6:])
    assert spooled >= 12
    recorded = [trace["request_uid"] for trace in await stand.traces()]
    assert sorted(uid for uid in recorded if uid != "filler") == sorted(replica.sent)
    log = (stand.directory / "database" / "postgres" / "server.log").read_text()
    assert "could not extend file" in log
    assert not replica.component.has_ended()
