"""The demo is the promise of the README; it runs as a newcomer runs it."""

import asyncio
import sys


async def test_demo_goes_as_promised() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "testbed.demo"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(300):
        output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert "All steps went as promised" in output.decode()
