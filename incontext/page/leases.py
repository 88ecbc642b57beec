"""Leases: a client of a server holds one, with what is kept for it, until it goes, is idle for long or falls silent."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from fastapi import HTTPException

Kept = TypeVar("Kept")
TOKEN_BYTES = 24


@dataclass(frozen=True)
class LeaseTerms:
    """Terms of leases.

    Attributes:
        most: Most leases at a time, each of which keeps an image in memory.
        idle_s: Seconds after which a client that did nothing loses its lease, even if it said that it lives.
        silent_s: Seconds after which one that said nothing at all does.
        clock: Clock, in seconds.
    """

    most: int = 4
    idle_s: float = 3600.0
    silent_s: float = 60.0
    clock: Callable[[], float] = monotonic


@dataclass
class _Lease(Generic[Kept]):
    kept: Kept
    used_s: float
    seen_s: float


class Leases(Generic[Kept]):
    """The leases of all clients, by token.

    Args:
        make: Function that makes what is kept for a new client.
        terms: Terms of the leases.
    """

    def __init__(self, make: Callable[[], Kept], terms: LeaseTerms) -> None:
        self.terms = terms
        self._make = make
        self._leases: dict[str, _Lease[Kept]] = {}
        self._lock = threading.Lock()

    def claim(self) -> str:
        """Return the token of a new lease.

        Raises:
            HTTPException: If there are as many as there may be: 503.
        """
        with self._lock:
            self._end_old()
            if len(self._leases) >= self.terms.most:
                msg = f"server is full: expected {self.terms.most} clients at most, got one more. Try again later."
                raise HTTPException(503, msg)
            token, now = secrets.token_urlsafe(TOKEN_BYTES), self.terms.clock()
            self._leases[token] = _Lease(self._make(), now, now)
            return token

    def use(self, token: str) -> Kept:
        """Return what is kept for a client that does something.

        Raises:
            HTTPException: If it has no lease: 410, as in the others.
        """
        with self._lock:
            lease = self._known(token)
            lease.used_s = lease.seen_s = self.terms.clock()
            return lease.kept

    def see(self, token: str) -> float:
        """Note that a client lives, and return how long it may still do nothing, in seconds."""
        with self._lock:
            self._known(token).seen_s = self.terms.clock()
        return self.left_s(token)

    def left_s(self, token: str) -> float:
        """Seconds for which a client may still do nothing."""
        with self._lock:
            return self.terms.idle_s - (self.terms.clock() - self._known(token).used_s)

    def release(self, token: str) -> None:
        """End a lease, if there is one."""
        with self._lock:
            self._leases.pop(token, None)

    def _known(self, token: str) -> _Lease[Kept]:
        self._end_old()
        if token not in self._leases:
            msg = "lease has ended: expected one that is in use, got another. Connect again, and send the image again."
            raise HTTPException(410, msg)
        return self._leases[token]

    def _end_old(self) -> None:
        now, terms = self.terms.clock(), self.terms
        for token, lease in [*self._leases.items()]:
            if now - lease.used_s > terms.idle_s or now - lease.seen_s > terms.silent_s:
                del self._leases[token]
