"""One value for each class of all labels of a call, be it named by the user, a tool's file or a list beside a map."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from incontext.images.source_image import NONE, LabelCase
from megamed.class_names import all_of_it, name_key, one_spelling, spelling_notes, which_is_which
from megamed.label_values import distinct


@dataclass
class ClassValues:
    """Values of classes by their names."""

    given: Mapping[int, str] = field(default_factory=dict)
    """Names of label values, as the user gives them."""
    drawn: Mapping[str, int] = field(default_factory=dict)
    """Values of the classes that files of drawn labels name, in each of their spellings."""
    most: int = 255
    """Largest value that a label map holds."""
    _claimed: int | None = None
    """The value of label maps without names that is taken for the one class that is drawn."""
    _known: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._known = {name_key(name): value for value, name in self.given.items()}
        self._known |= {name_key(name): value for name, value in self.drawn.items()}

    @property
    def names(self) -> dict[int, str]:
        """The drawn classes by value."""
        chosen = one_spelling([*self.given.values(), *self.drawn])
        return {value: chosen[name] for name, value in self.drawn.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on each drawn class that is spelt in several ways."""
        return tuple(spelling_notes(self.drawn))

    def meant(self, label: LabelCase, source: str) -> LabelCase:
        """Give the classes of a label map the values that they have in all labels.

        Args:
            label: Label map, with names if its file or a list beside it states them.
            source: How errors and notes call it.

        Raises:
            ValueError: If others are drawn in files that name them, and it cannot be told which of them it shows.
        """
        if not label.names and not self.drawn:
            return label
        shown = [int(value) for value in distinct(label.planes) if value]
        values = {value: self._value_of(label.names[value], value) for value in shown if self._is_named(value, label)}
        unnamed = [value for value in shown if value not in values and value not in self.given]
        note = ""
        if unnamed and self.drawn:
            values |= self._only_class(shown, source)
            note = f"{source} shows one class, {unnamed[0]}: it is taken for {self.names[values[unnamed[0]]]!r}."
        moved = {old: new for old, new in values.items() if old != new}
        if moved and not note:
            pairs = ", ".join(f"{label.names[old]!r} from {old} to {new}" for old, new in moved.items())
            note = f"{source} has its own numbers of classes: renumbered by their names are {pairs}."
        planes = label.planes
        if moved:
            table = np.arange(self.most + 1, dtype=np.uint8)
            table[list(moved)] = list(moved.values())
            planes = table[planes]
        names = {moved.get(value, value): name for value, name in label.names.items() if value in shown}
        colours = {moved.get(value, value): colour for value, colour in label.colours.items()}
        notes = (*label.notes, note) if note else label.notes
        return replace(label, planes=planes, names=names, colours=colours, notes=notes)

    def _is_named(self, value: int, label: LabelCase) -> bool:
        return value in label.names and value not in self.given

    def _value_of(self, name: str, wanted: int) -> int:
        """Return the value of a class; one that is new has the number that its file gives it, if this is free."""
        if (key := name_key(name)) not in self._known:
            taken = {*self._known.values(), *self.given}
            free = itertools.chain([wanted], range(1, self.most + 1))
            self._known[key] = next(value for value in free if value not in taken)
        return self._known[key]

    def _only_class(self, shown: Sequence[int], source: str) -> dict[int, int]:
        """Take the one value of a label map for the one class that is drawn."""
        classes = {*self.drawn.values()}
        if len(classes) == len(shown) == 1 and self._claimed in (None, shown[0]):
            self._claimed = shown[0]
            return {shown[0]: next(iter(classes))}
        raise ValueError(which_is_which(source, shown, [*self.names.values()]))


def one_class(label: LabelCase, class_name: str, source: str) -> LabelCase:
    """Reduce a label to the mask of a class: structures that have names to those of its name, others to all of them.

    Args:
        label: Label map or drawn structures.
        class_name: Name of the class.
        source: How a note calls the label.
    """
    key = name_key(class_name)
    if own := [value for value, name in label.names.items() if name_key(name) == key]:
        masks = [label.masks.get(value, label.planes == value) for value in own]
        return replace(label, planes=np.logical_or.reduce(masks).astype(np.uint8), masks={})
    shown = [value for value in distinct(label.planes).tolist() if value]
    if len(shown) < 2:
        return label
    note = all_of_it(source, [label.names.get(value, str(value)) for value in shown], class_name)
    return replace(label, notes=(*label.notes, note))


def check_count(drawn: Mapping[str, int], files: Mapping[Path, Mapping[int, str]], most: int) -> None:
    """Refuse more classes than a label map holds.

    Args:
        drawn: Values of the classes by name.
        files: Names of the classes in each file, by value.
        most: Largest value that a label map holds.

    Raises:
        ValueError: If there are more.
    """
    if (count := len({*drawn.values()})) > most:
        file = max(files, key=lambda path: len(files[path]))
        msg = f"support_labels name too many classes: expected at most {most}, got {count} in {file.name}. "
        raise ValueError(msg + "Leave some out, or unite them.")


def numbered(
    stated: Sequence[Mapping[int, str]], most: int, given: Mapping[int, str] = NONE, has_maps: bool = False
) -> dict[str, int]:
    """Give every name that files state a value: theirs if all agree, else its place in the order of the alphabet.

    Spellings of one name have one value. A class that the user names has the user's value.

    Args:
        stated: The names of each file by the values that it gives them.
        most: Largest value that a label map holds.
        given: Names of label values, as the user gives them.
        has_maps: Whether these are the values of label maps too, which no other class may have.
    """
    fixed = {name_key(name): value for value, name in given.items()}
    chosen = one_spelling([*given.values(), *(name for names in stated for name in names.values())])
    pairs = {(value, chosen[name]) for names in stated for value, name in names.items() if name_key(name) not in fixed}
    values, names = {value for value, _ in pairs}, {name for _, name in pairs}
    agree = len(values) == len(names) == len(pairs) and all(0 < value <= most for value, _ in pairs)
    known = {name_key(name) for names in stated for name in names.values()}
    reserved = given if has_maps else [fixed[key] for key in known & fixed.keys()]
    if agree and values.isdisjoint(reserved):
        found = {name: value for value, name in sorted(pairs)}
    else:
        free = (value for value in itertools.count(1) if value not in given)
        found = dict(zip(sorted(names), free, strict=False))
    found |= {name: fixed[name_key(name)] for name in chosen.values() if name_key(name) in fixed}
    spelt = dict.fromkeys(name for names in stated for name in names.values())
    return {name: found[chosen[name]] for name in spelt}
