"""News for the tab that is open: collected from any thread, and sent some times a second at most."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from incontext.page.messages import NewsMessage

PAUSE_S = 0.15
"""Least time between two news."""
TURN_S = 1.0
"""Time in which a tab that is reloaded has left."""


class News:
    """The one tab that may draw, and what it has not been told yet.

    Args:
        tell: Function that says what is new of some images.
    """

    def __init__(self, tell: Callable[[Collection[int]], NewsMessage]) -> None:
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fresh: set[int] = set()
        self._something = asyncio.Event()
        self._left = asyncio.Event()
        self._left.set()
        self._is_closing = False
        self.tab = ""

    def post(self, images: Sequence[int]) -> None:
        """Let the tab know, from any thread, that something is new, also of these images."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._add, tuple(images))

    def close(self) -> None:
        """Let the tab go."""
        self._is_closing = True
        self._something.set()

    async def enter(self, tab: str) -> bool:
        """Let a tab in, unless there is another; a tab that is reloaded may take a moment to leave.

        Args:
            tab: Name that the tab has given itself.
        """
        self._loop = asyncio.get_running_loop()
        if tab == self.tab or not self.tab:
            try:
                await asyncio.wait_for(self._left.wait(), TURN_S)
            except TimeoutError:
                return False
        if not self._left.is_set():
            return False
        self._left.clear()
        self.tab = tab
        return True

    async def stream(self) -> AsyncIterator[str]:
        """Yield events for the tab that was let in, until it leaves."""
        try:
            yield ": welcome\n\n"
            while not self._is_closing:
                await self._something.wait()
                self._something.clear()
                if self._is_closing:
                    return
                fresh, self._fresh = self._fresh, set()
                news = await asyncio.to_thread(self._tell, fresh)
                yield f"data: {json.dumps(news.model_dump())}\n\n"
                await asyncio.sleep(PAUSE_S)
        finally:
            self.tab = ""
            self._left.set()

    def _add(self, images: tuple[int, ...]) -> None:
        self._fresh |= set(images)
        self._something.set()
