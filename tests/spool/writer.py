"""A process that spools: `python -m tests.spool.writer DIRECTORY ROUNDS [FILE_LIMIT]`.

It prints the action_id of each recording once that is safe, or why it is not.
"""

import asyncio
import os
import resource
import sys
from dataclasses import replace
from itertools import repeat
from pathlib import Path

from gate.services.identifiers import make_action_id
from gate.spool.store import FileSpool
from tests.postgres.records import NOW
from tests.spool.disks import MIB, make_spooled, soon

TOGETHER = 4


async def spool_one(spool: FileSpool) -> None:
    recording = make_spooled()
    action_id = make_action_id(NOW, os.urandom(10))
    recording = replace(recording, trace=replace(recording.trace, action_id=action_id))
    problem = await spool.append(recording, deadline=soon())
    said = action_id if problem is None else f"{problem.reason} {problem.message}"
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()


async def main(path: Path, rounds: int) -> None:
    spool = FileSpool(path, max_bytes=64 * MIB)
    for problem in await spool.open():
        sys.stdout.write(f"{problem.reason} {problem.message}\n")
        sys.stdout.flush()
    for _ in repeat(None, rounds):
        async with asyncio.TaskGroup() as reviews:
            for _ in range(TOGETHER):
                reviews.create_task(spool_one(spool))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        limit = int(sys.argv[3])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
