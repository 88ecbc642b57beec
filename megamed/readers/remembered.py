"""Files whose content is remembered in the course of one piece of work, so that nothing is decoded twice."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from megamed.readers.source import Source
from megamed.readers.stored import StoredImage

MOST_BYTES = 2**28
"""Size of all pixels that are remembered at a time; images that were asked for last stay."""


@dataclass
class _Memory:
    contents: OrderedDict[Source, StoredImage] = field(default_factory=OrderedDict)
    size_bytes: int = 0

    def add(self, source: Source, content: StoredImage) -> None:
        content.array.flags.writeable = False  # it is shared
        self.contents[source] = content
        self.size_bytes += content.array.nbytes
        while self.size_bytes > MOST_BYTES:
            _, oldest = self.contents.popitem(last=False)
            self.size_bytes -= oldest.array.nbytes


_CURRENT: ContextVar[_Memory | None] = ContextVar("_CURRENT", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Remember what is read within, as far as it is small; a block within another shares its memory.

    The files must not change meanwhile. Other threads remember nothing.
    """
    if is_remembering():
        yield
        return
    token = _CURRENT.set(_Memory())
    try:
        yield
    finally:
        _CURRENT.reset(token)


def is_remembering() -> bool:
    """Whether what is read now is remembered."""
    return _CURRENT.get() is not None


def once(source: Source, read: Callable[[], StoredImage]) -> StoredImage:
    """Return what a source holds: as it is remembered, or else as it is read.

    Args:
        source: Where it lies.
        read: Reads it.
    """
    memory = _CURRENT.get()
    if memory is None:
        return read()
    if source not in memory.contents:
        content = read()
        memory.add(source, content)
        return content
    memory.contents.move_to_end(source)
    return memory.contents[source]
