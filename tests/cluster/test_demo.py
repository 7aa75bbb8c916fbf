"""The demo is the promise of the README; it runs as a newcomer runs it."""

import asyncio
import re
import sys
from datetime import timedelta

LIMIT = timedelta(minutes=5)  # alone it takes well under one; other tests run beside it


async def test_demo_shows_a_refusal_of_each_pattern() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "testbed.demo"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(LIMIT.total_seconds()):
        output = (await process.communicate())[0].decode()

    assert process.returncode == 0, output
    assert "All steps went as promised" in output
    assert set(re.findall(r"^  Seen: ([a-z-]+):", output, re.MULTILINE)) == {
        "scale-oscillation",
        "resource-thrashing",
        "ineffective-loop",
        "cascading-failure",
    }
