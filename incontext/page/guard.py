"""The guard before the server: it lets in the page that this process opened, and nobody else.

A browser sends requests of any website to any address, this machine's among them. So each request must name this host
(else a name of the attacker's may lead here), come from this page or from no page, and know a secret, which is in its
path unless the server behind the guard asks for it.
"""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 2**24
"""Largest body of a request."""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of each answer: nothing but what this server gives is loaded or run, and no other page shows this one."""


class _TooLarge(Exception):
    """A body that is larger than allowed."""


class Guard:
    """A server behind a secret path, for one page on this machine.

    Args:
        app: The server to guard.
        port: The port that is listened at.
        token: The secret, the first part of each path; empty where the server asks for a key by itself.
        most_bytes: Largest body of a request.
    """

    def __init__(self, app: App, port: int, token: str, most_bytes: int = MOST_BYTES) -> None:
        self._app, self._token, self._most_bytes = app, token, most_bytes
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        if refused := self._refusal(scope):
            await _answer(send, *refused)
            return
        body, begun = _Body(receive, self._most_bytes), False

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                if body.is_too_large:  # whatever the server makes of it
                    raise _TooLarge
                begun = True
                known = [pair for pair in message["headers"] if pair[0].decode().lower() not in HEADERS]
                message["headers"] = [*known, *((name.encode(), text.encode()) for name, text in HEADERS.items())]
            await send(message)

        path = scope["path"].removeprefix(f"/{self._token}") if self._token else scope["path"]
        inner = {**scope, "path": path or "/", "root_path": ""}
        try:
            await self._app(inner, body.receive, guarded)
        except _TooLarge:
            if not begun:
                await _answer(send, 413, "body is too large")

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if host not in self._hosts:
            return 421, "host is not this one"
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return 403, "origin is another page"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return 403, "request is of another page"
        first = scope["path"].split("/")[1] if scope["path"].startswith("/") else ""
        if self._token and not secrets.compare_digest(first.encode(), self._token.encode()):
            return 404, "nothing is here: open the address that the program printed"
        if (
            headers.get("content-length", "0").isdecimal()
            and int(headers.get("content-length", "0")) > self._most_bytes
        ):
            return 413, "body is too large"
        return None


class _Body:
    """A body whose bytes are counted, whatever its header says."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive, self._most_bytes = receive, most_bytes
        self._count = 0

    @property
    def is_too_large(self) -> bool:
        """Whether more has come than allowed."""
        return self._count > self._most_bytes

    async def receive(self) -> MutableMapping[str, Any]:
        """Pass on the next part."""
        message = await self._receive()
        self._count += len(message.get("body", b""))
        if self.is_too_large:
            raise _TooLarge
        return message


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
