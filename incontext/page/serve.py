"""The process behind the page: one folder, one server on this machine, one browser."""

import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from incontext.page.doorway import Doorway
from incontext.page.guard import Guard
from incontext.page.target import PageOptions, Target, check_ready
from megamed.failures import Attempt

HOST = "127.0.0.1"
"""Address that is listened at, which no other machine reaches."""
TOKEN_BYTES = 24
GRACE_S = 1


@dataclass(frozen=True)
class ServeOptions:
    """Options of the page.

    Attributes:
        page: Options of what is behind the page.
        port: Port to listen at; 0 for any that is free.
        browser: Whether to open a browser.
        tell: Function that is told the address.
        note: Function that is told what was understood of the folder, if that is not what it looks like.
    """

    page: PageOptions
    port: int = 0
    browser: bool = True
    tell: Callable[[str], object] = str
    note: Callable[[str], object] = str


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

    Of a folder of results, the images are annotated that these are of.

    Raises:
        NotADirectoryError: If it is no folder.
        ValueError: If it has no images, or another process is at work there.
        OSError: If it cannot be read or written to, the port is taken, or the images of results are not there.
    """
    target = Target.named(folder, options.page)
    check_ready(target.folder)
    if target.note:
        options.note(target.note)
    with listening(options.port) as listener, ExitStack() as held:
        port, token = listener.getsockname()[1], secrets.token_urlsafe(TOKEN_BYTES)
        doorway, opening = Doorway(), Attempt()
        guard = Guard(doorway, port, token)
        config = uvicorn.Config(guard, log_level="error", timeout_graceful_shutdown=GRACE_S, ws="none", lifespan="off")
        server = _Server(config, doorway.close)

        def open_folder() -> None:
            with opening:
                _open(target, doorway, held)
            if opening.error:
                doorway.refuse(opening.reason)
                server.stop()

        for number in (signal.SIGINT, signal.SIGTERM):  # the server has handlers of its own, and calls these at its end
            signal.signal(number, lambda *_: server.stop())
        thread = threading.Thread(target=open_folder, name="opening")
        thread.start()
        address = f"http://{HOST}:{port}/{token}/"
        options.tell(address)
        if options.browser:
            webbrowser.open(address)
        try:
            server.run(sockets=[listener])
        finally:
            thread.join()
    if opening.error:
        raise opening.error


def _open(target: Target, doorway: Doorway, held: ExitStack) -> None:
    """Load the libraries and the folder, and let requests through."""
    from incontext.page.api import build_app
    from incontext.page.assembled import assembled

    page = held.enter_context(assembled(target.folder, target.options))
    doorway.open(build_app(page), page.news.close)


def listening(port: int) -> socket.socket:
    """Listen at a port of this machine, which no other machine reaches; 0 is any that is free.

    Raises:
        OSError: If it is taken.
    """
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
