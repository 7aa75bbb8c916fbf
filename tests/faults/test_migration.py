"""A schema that changes while replicas serve: late, at length, or under their feet."""

import asyncio
import os
from dataclasses import replace

import asyncpg

from gate.postgres.revisions import find_migrations
from testbed.component import die_with_parent
from testbed.gate import PROGRAM
from tests.faults.stand import LATE, Replica, Stand, grow, make_workloads, wait_until
from tests.faults.test_database import LIMIT, assert_recorded_once

MIGRATE_LIMIT = 60
KEPT = "recorded here until PostgreSQL takes it"


async def make_old_database(stand: Stand) -> Stand:
    """Return the stand with a database as the first release left it."""
    await stand.execute("CREATE DATABASE old")
    old = replace(stand, dsn=stand.dsn.replace("/postgres?", "/old?"))
    for file in sorted((find_migrations() / "sql").glob("0001_*.sql")):
        await old.execute(file.read_text())
    await old.execute(
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);"
        " INSERT INTO alembic_version VALUES ('0001')"
    )
    return old


async def run_migrate(stand: Stand) -> str:
    """Run `gate migrate`, and return what it says."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "migrate",
        env={"PATH": os.environ["PATH"], "GATE_DSN": stand.dsn},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=die_with_parent(),
    )
    async with asyncio.timeout(MIGRATE_LIMIT):
        output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def test_a_replica_on_an_old_schema_says_so_and_is_ready_once_it_is_migrated(
    stand: Stand,
) -> None:
    old = await make_old_database(stand)
    workloads = make_workloads(4)
    async with old.replica() as replica:

        async def says_what_is_missing() -> bool:
            return "lacks 1 revision(s), 0002: run `gate migrate`" in await replica.ask("/readyz")

        await wait_until(says_what_is_missing)
        during = await replica.send_all(map(grow, workloads), limit=LIMIT)
        migrating = asyncio.create_task(run_migrate(old))
        while not migrating.done():
            during += await replica.send_all(map(grow, workloads), limit=LIMIT)
        await old.wait_until_ready(replica)
        await replica.wait_until_flushed()
        after = await replica.send_all(map(grow, make_workloads(4, prefix="new")), limit=10)

        assert await migrating == "applied 0002\n"
        assert all(each.is_allowed for each in (*during, *after))
        assert all(KEPT in each.words for each in during[:4])
        assert max(each.took for each in during) < LIMIT + LATE
        assert [each.words for each in after] == [""] * 4
        await assert_recorded_once(old, replica)


async def test_reviews_go_on_while_tables_are_altered_and_after_they_were(
    stand: Stand, replica: Replica
) -> None:
    old = make_workloads(16)
    before = await replica.send_all(map(grow, old), limit=10)

    connection = await asyncpg.connect(stand.dsn)
    async with connection.transaction():
        await connection.execute("ALTER TABLE resource_action_traces ADD COLUMN later text")
        await connection.execute("ALTER TABLE action_histories ADD COLUMN later text")
        await connection.execute("ALTER TABLE action_escalations ADD COLUMN later text")
        during = await replica.send_all(map(grow, old), limit=LIMIT)
    await connection.close()
    await replica.wait_until_flushed()
    failures = await replica.count("gate_admission_failures_total")
    after = [each for _ in range(3) for each in await replica.send_all(map(grow, old), limit=10)]

    assert all(each.is_allowed for each in (*before, *during, *after))
    assert all(KEPT in each.words for each in during)
    assert max(each.took for each in during) < LIMIT + LATE
    assert {each.words for each in (*before, *after)} == {""}
    assert await replica.count("gate_admission_failures_total") == failures
    await assert_recorded_once(stand, replica)
