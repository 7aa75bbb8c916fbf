"""Who may go on: of those that want the same, one after another, in the order they came."""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)


class Turns(Generic[_Key]):
    """Gives the turn of each key to one holder at a time; a key that nobody holds costs nothing."""

    def __init__(self) -> None:
        # A key is here while its turn is held, with those who wait for it.
        self._waiting: dict[_Key, deque[asyncio.Future[None]]] = {}

    async def take(self, key: _Key, *, latest: float) -> bool:
        """Wait for a turn, and return False where it did not come by `latest`, in the loop's time.

        Whoever has it passes it on, whatever happens meanwhile.
        """
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
            return True
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            async with asyncio.timeout_at(latest):
                await turn
        except BaseException as error:
            if not turn.cancelled():  # it came together with what ends the wait
                self.pass_on(key)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def pass_on(self, key: _Key) -> None:
        """Give the turn to who has waited longest and still does."""
        waiting = self._waiting[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[key]
