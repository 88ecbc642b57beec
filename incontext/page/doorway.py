"""The door of the page: the screen is there at once, and what it asks waits until the folder is read.

The libraries that read and segment take seconds to load. Nothing here needs them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
ASKED = "/api/"
"""Beginning of the paths that the server of the folder answers."""


class Doorway:
    """A server that gives the screen, and passes on all else to the server of the folder, once there is one."""

    def __init__(self) -> None:
        self._inner: Future[ASGIApp] = Future()
        self._before_end: Callable[[], object] = bool
        screen = Route("/", lambda _: FileResponse(STATIC / "index.html"))
        self._screen = Starlette(routes=[screen, Mount("/static", StaticFiles(directory=STATIC))])

    def open(self, inner: ASGIApp, before_end: Callable[[], object] = bool) -> None:
        """Let requests through to the server of the folder.

        Args:
            inner: The server.
            before_end: Function that lets go whoever listens to it.
        """
        self._before_end = before_end
        self._inner.set_result(inner)

    def refuse(self, reason: str) -> None:
        """Answer all that waits, as there will be no such server."""
        self._inner.set_result(JSONResponse({"detail": reason}, 503))

    def close(self) -> None:
        """Let go whoever listens."""
        self._before_end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        is_asked = scope["type"] == "http" and scope["path"].startswith((ASKED, "/openapi"))
        answer = await asyncio.shield(asyncio.wrap_future(self._inner)) if is_asked else self._screen
        await answer(scope, receive, send)
