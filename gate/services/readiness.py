"""What keeps this replica from being sent reviews, and what else people should know of it.

In words for whoever looks at /readyz.
"""

import asyncio
from collections.abc import Mapping


class Readiness:
    """Holds the present problems by name; without any, the replica is ready."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._notes: dict[str, str] = {}
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

    def describe_notes(self) -> Mapping[str, str]:
        """Return what people should look at, by name; none of it keeps reviews away."""
        return dict(self._notes)

    def note(self, name: str, text: str) -> None:
        """Note what people should look at; the replica stays ready."""
        self._notes[name] = text

    def drop_note(self, name: str) -> None:
        """Note that something is no longer worth a look."""
        self._notes.pop(name, None)

    async def wait(self) -> None:
        """Wait until nothing is wrong."""
        await self._ready.wait()
