"""A watch on the folder that is annotated: images that join it, go or come back while the page is open."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from incontext.folders.folder_images import read_folder
from incontext.page.live import Live
from incontext.page.store import AnnotatedFolder
from incontext.page.target import LABELS
from megamed.failures import Attempt

PERIOD_S = 2.0
"""Least time between two looks."""
IDLE = 50
"""Times that a look took which pass before the next one: it costs two percent of a core at most."""
MOST_FOLDERS = 5000
Stamp = tuple[int, ...] | None
"""Time of the last change and size of a file or folder; None if it is not there."""


class FolderWatch:
    """A thread that looks at a folder every few seconds, at the times of its subfolders alone, unless one has changed.

    An image joins once it is the same in two looks, so that none is taken while it is being copied. The strokes and
    labels of an image that is gone stay; one that comes back goes on with them.

    Args:
        folder: The folder.
        live: What segments its images.
        notify: Function that is told of which images something is new, in the thread.
    """

    def __init__(self, folder: AnnotatedFolder, live: Live, notify: Callable[[Sequence[int]], object]) -> None:
        self._folder, self._live, self._notify = folder, live, notify
        self._notes = tuple(folder.notes)
        self._seen = _stamps(folder.folder)
        self._gone = _gone(folder)
        self._arriving: dict[Path, Stamp] = {}
        self._failing: dict[int, Stamp] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """End after the look that is being taken."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> list[int]:
        """Look once, and return the indices of images of which something is new."""
        fresh = self._readable()
        if self._arriving or any(_stamp(Path(place)) != stamp for place, stamp in self._seen.items()):
            self._seen = _stamps(self._folder.folder)
            fresh += [*self._went_or_came(), *self._joined()]
        if fresh:
            self._notify(fresh)
        return fresh

    def _run(self) -> None:
        pause = PERIOD_S
        while not self._end.wait(pause):
            began = time.process_time()
            with Attempt():  # what fails now may not the next time
                self.look()
            pause = max(PERIOD_S, IDLE * (time.process_time() - began))

    def _went_or_came(self) -> list[int]:
        """Images that are gone since the last look, or there again."""
        before, self._gone = self._gone, _gone(self._folder)
        return sorted(before ^ self._gone)

    def _joined(self) -> list[int]:
        """Let images join that have come to rest."""
        with Attempt() as reading:
            pairs = read_folder(self._folder.folder).pairs
        notes = (*self._notes, f"The folder has changed, and cannot be read anew: {reading.reason}")
        notes = notes if reading.error else self._notes
        if notes != self._folder.notes:
            self._folder.notes = notes
            self._notify([])
        if reading.error:
            return []
        known = {image.pair.image for image in self._folder.images}
        new = {pair.image: pair for pair in pairs if pair.image not in known}
        arriving = {path: _stamp(path) for path in new}
        ready = [new[path] for path, stamp in arriving.items() if stamp and self._arriving.get(path) == stamp]
        self._arriving = {path: arriving[path] for path in arriving.keys() - {pair.image for pair in ready}}
        if not ready:
            return []
        with self._live.lock:
            joined = self._folder.join(ready)
        if any(pair.labels for pair in ready):
            self._live.examples_changed()
        else:
            self._live.images_changed()
        return joined

    def _readable(self) -> list[int]:
        """Images that could not be read and have changed since: they are to be tried again."""
        with self._live.lock:
            failing = {index: _stamp(self._folder.images[index].pair.image) for index in self._live.failures}
            changed = [index for index, stamp in failing.items() if self._failing.get(index, stamp) != stamp]
            for index in changed:
                del self._live.failures[index]
        self._failing = {index: stamp for index, stamp in failing.items() if index not in changed}
        if changed:
            self._live.images_changed()
        return changed


def _gone(folder: AnnotatedFolder) -> set[int]:
    return {index for index, image in enumerate(folder.images) if image.is_missing}


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _stamps(folder: Path) -> dict[str, Stamp]:
    """Times of a folder and of those below it in which images may lie, but for labels, which the page itself writes."""
    found: dict[str, Stamp] = {}
    for place, folders, _ in os.walk(folder):
        found[place] = _stamp(Path(place))
        folders[:] = [each for each in folders if not each.startswith(".") and not each.endswith(".zarr")]
        if place == str(folder) and LABELS in folders:
            folders.remove(LABELS)
        if len(found) >= MOST_FOLDERS:
            break
    return found
