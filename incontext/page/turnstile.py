"""Turns at the segmenter: a person's comes before those of the images in the background."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turnstile:
    """Turnstile at the segmenter: a person, who waits before the screen, comes before the images in the background."""

    def __init__(self) -> None:
        self._busy, self._next = threading.Lock(), threading.Lock()

    @contextmanager
    def first(self) -> Iterator[None]:
        """Wait for the one that is at work, and for nobody else."""
        with self._next:
            self._busy.acquire()
        try:
            yield
        finally:
            self._busy.release()

    @contextmanager
    def last(self) -> Iterator[None]:
        """Wait as long as a person does."""
        with self._next:
            pass
        with self.first():
            yield
