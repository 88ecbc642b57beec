"""The channel that a person means of an image with several: by index, by colour, or by the name in its file."""

import unicodedata
from collections.abc import Sequence

COLOURS = ("red", "green", "blue")


def index_of(channel: str, count: int, names: Sequence[str] = ()) -> int | None:
    """Find the index of a channel; None if there is no such channel, or several have the name.

    A number is an index, and where it is too large for one it may be a name, as channels of microscopes are called
    after wavelengths: `488`. Upper and lower case are the same.

    Args:
        channel: What a person wrote.
        count: The number of channels.
        names: Names of the channels, "" where a channel has none; a colour is meant only where none has one.
    """
    if channel.isdecimal() and int(channel) < count:
        return int(channel)
    called = [_folded(name) for name in (names if any(names) else COLOURS[:count])]
    return called.index(_folded(channel)) if called.count(_folded(channel)) == 1 else None


def chosen(part: str, count: int, names: Sequence[str] = ()) -> int | None:
    """Choose among the channels of a file; None if there is one, which is taken whatever was asked for.

    A single one is taken for any number, and if it has no name for any name: files of one channel lie among others.

    Args:
        part: What was asked for; empty if nothing was.
        count: The number of channels.
        names: Names of the channels.

    Raises:
        ValueError: If there is no such channel, or nothing tells which of several is meant.
    """
    index = index_of(part, count, names) if part else None
    if index is None and (count > 1 or (part and not part.isdecimal() and names)):
        raise ValueError(_fault(part, count, names))
    return index


def _fault(part: str, count: int, names: Sequence[str]) -> str:
    """Say why no one channel is meant."""
    known = listed(count, names)
    if not part:
        first = names[0] if names else ""
        example = first if first and index_of(first, count, names) == 0 else 0
        choice = f"Choose it: channel={example!r}, in the shell --channel {example}"
        return f"it holds {count} channels: expected one, or the choice of {known}, got none. {choice}"
    if called := [index for index, name in enumerate(names) if _folded(name) == _folded(part)]:
        return f"it has several channels called {part!r}: expected one, got {known}. Choose by number: {called[0]}"
    return f"it has no channel {part!r}: expected {known}. Choose one of these"


def listed(count: int, names: Sequence[str] = ()) -> str:
    """List the channels of which one can be chosen.

    >>> listed(2, ["DAPI", "GFP"]), listed(3)
    ("0 'DAPI', 1 'GFP'", '0 to 2')
    """
    if not any(names):
        return f"0 to {count - 1}"
    return ", ".join(f"{index} {name!r}" if name else str(index) for index, name in enumerate(names))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()
