"""Names of classes: which spellings mean the same one, and what is told where names and numbers meet."""

import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

SHOWN = 5
"""Number of values or names that a message lists."""


def name_key(name: str) -> str:
    """Return what all spellings of a class's name have in common: case, blanks and forms of letters do not count.

    >>> name_key("Left  Kidney "), name_key("Ne\u0301vus") == name_key("n\u00e9vus")
    ('left kidney', True)
    """
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def one_spelling(names: Iterable[str]) -> dict[str, str]:
    """Return for each name the spelling of its class that comes first."""
    first: dict[str, str] = {}
    return {name: first.setdefault(name_key(name), name) for name in names}


def spelling_notes(names: Iterable[str]) -> Iterator[str]:
    """Yield a sentence on each class whose name is spelt in several ways."""
    spelt: dict[str, list[str]] = defaultdict(list)
    for name, chosen in one_spelling(names).items():
        spelt[chosen].append(name)
    for chosen, each in spelt.items():
        if len(each) > 1:
            yield f"{', '.join(map(repr, each))} are read as one class, {chosen!r}: only their spelling differs."


def which_is_which(source: str, numbers: Sequence[int], names: Sequence[str]) -> str:
    """Tell that classes have numbers in some labels and names in others."""
    got = ", ".join(map(str, numbers[:SHOWN]))
    called = itertools.zip_longest(numbers[:SHOWN], names[: len(numbers[:SHOWN])], fillvalue="another")
    pairs = ",".join(f"{value}={name}" for value, name in called)
    return (
        f"{source} numbers its classes where other labels name theirs: expected a name for each number, got {got} "
        f"beside {', '.join(names[:SHOWN])}. Say which is which, such as --classes '{pairs}'."
    )


def all_of_it(source: str, shown: Sequence[str], class_name: str) -> str:
    """Note that the mask of a class shows several."""
    listed = ", ".join(shown[:SHOWN]) + (", …" if len(shown) > SHOWN else "")
    return f"{source} shows {listed}: all of it is read as {class_name!r}."
