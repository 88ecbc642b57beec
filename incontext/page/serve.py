"""The process behind the page: one folder, one server on this machine, one browser."""

import secrets
import signal
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from incontext.folders.class_names import read_classes
from incontext.folders.segmenter_options import SegmenterOptions
from incontext.page.api import Page, build_app
from incontext.page.guard import Guard
from incontext.page.live import Live
from incontext.page.results import SegmentedFolder
from incontext.page.store import opened

HOST = "127.0.0.1"
"""Address that is listened at, which no other machine reaches."""
TOKEN_BYTES = 24
GRACE_S = 1


@dataclass(frozen=True)
class ServeOptions:
    """Options of the page.

    Attributes:
        segmenter: Options of what segments.
        classes: Names of label values, as `read_classes` reads them.
        port: Port to listen at; 0 for any that is free.
        browser: Whether to open a browser.
        tell: Function that is told the address.
        results: Folder of results of `segment`, whose masks are corrected; None for none.
    """

    segmenter: SegmenterOptions
    classes: str | None = None
    port: int = 0
    browser: bool = True
    tell: Callable[[str], object] = str
    results: Path | None = None


class _Server(uvicorn.Server):
    """A server that lets its tab go before it waits for the end of its connections."""

    def __init__(self, config: uvicorn.Config, before_end: Callable[[], object]) -> None:
        super().__init__(config)
        self._before_end = before_end

    def stop(self) -> None:
        """End as soon as it has begun."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the stream of news, then the server."""
        self._before_end()
        await super().shutdown(sockets)


def serve(folder: Path, options: ServeOptions) -> None:
    """Let a person annotate the images of a folder in a browser, until the process is interrupted.

    Raises:
        NotADirectoryError: If it is no folder.
        ValueError: If it has no images, or another process is at work there.
        OSError: If it cannot be read or written to, or the port is taken.
    """
    results = SegmentedFolder(options.results) if options.results else None
    classes = {**(results.classes if results else {}), **read_classes(options.classes)}
    with opened(folder, classes) as annotated, _listening(options.port) as listener:
        port, token = listener.getsockname()[1], secrets.token_urlsafe(TOKEN_BYTES)
        before = results.predictions if results else lambda _: ()
        live = Live(annotated, options.segmenter.open, lambda images: page.news.post(images), before)
        page = Page(annotated, live)
        guard = Guard(build_app(page), port, token)
        config = uvicorn.Config(guard, log_level="error", timeout_graceful_shutdown=GRACE_S, ws="none")
        address = f"http://{HOST}:{port}/{token}/"
        live.start()
        options.tell(address)
        if options.browser:
            webbrowser.open(address)
        server = _Server(config, page.news.close)
        for number in (signal.SIGINT, signal.SIGTERM):  # the server has handlers of its own, and calls these at its end
            signal.signal(number, lambda *_: server.stop())
        try:
            server.run(sockets=[listener])
        finally:
            live.close()


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # whoever comes before the server has begun waits for it
    except OSError as error:
        listener.close()
        msg = f"port {port} cannot be used: expected a free one, got {error.strerror!r}. Choose another, or none."
        raise OSError(msg) from error
    return listener
