"""What keeps this replica from being sent reviews, in words for whoever looks at /readyz."""

import asyncio
from collections.abc import Mapping


class Readiness:
    """Holds the present problems by name; without any, the replica is ready."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._ready = asyncio.Event()
        self._ready.set()

    def describe(self) -> Mapping[str, str]:
        """Return each problem's name with what is wrong; empty when ready."""
        return dict(self._problems)

    def report(self, name: str, problem: str) -> bool:
        """Note a problem, and tell whether that is news."""
        is_news = self._problems.get(name) != problem
        self._problems[name] = problem
        self._ready.clear()
        return is_news

    def clear(self, name: str) -> None:
        """Note that a problem is over."""
        self._problems.pop(name, None)
        if not self._problems:
            self._ready.set()

    async def wait(self) -> None:
        """Wait until nothing is wrong."""
        await self._ready.wait()
