"""Survey of the labels of a folder: the classes that they show, and how many do not look like maps of classes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Integer, Shaped

from incontext.images.drawn_outlines import FILL, is_outline
from megamed.class_names import all_of_it, name_key, one_spelling, spelling_notes, which_is_which
from megamed.colour_tables import BLACK, FULL, MAX_COLOURS, as_bytes, colour_counts
from megamed.label_colours import Palettes
from megamed.label_values import (
    LabelRules,
    check_regions,
    common_corner,
    distinct,
    hardened,
    is_antialiased,
    is_full_word,
    is_instances,
    read_channels,
    split_unknown,
    suspected_void,
    whole_numbers,
)
from megamed.notes import counted
from megamed.trimaps import BAND, GREY, WHITE, TrimapVote, foreground_of, trimap_note

MANY_CLASSES = 32
"""More values than these are looked at with suspicion."""
HALF = (
    f"{GREY} and {WHITE} are read as two classes. If {GREY} is of pixels that nobody judged, as at the rim of "
    f"an object, say so: --unknown {GREY}."
)
"""Note on labels of black, grey and white, which are drawn in both senses."""
SHOWN = 5
"""Number of files or values that a message names."""


@dataclass(frozen=True)
class ClassFacts:
    """A class of the labels.

    Attributes:
        value: Label value; None where every class has files of its own.
        name: Name of the class, or its value.
        images: Number of images that show it.
        share: Mean share of the pixels that it covers in these.
    """

    value: int | None
    name: str
    images: int
    share: float


@dataclass(frozen=True)
class _Counted:
    """Findings on one label map.

    Attributes:
        name: Name of the file.
        size: Number of its pixels.
        found: Number of pixels of each value, without the void.
        corner: The value that all corners have, if that is neither 0 nor the void.
        void: The value that stands apart from the classes, if one does.
        is_numbered: Whether values number objects of one class.
    """

    name: str
    size: int
    found: Mapping[int, int]
    corner: int | None
    void: int | None
    is_numbered: bool


@dataclass
class LabelSurvey:
    """Values of labels, gathered label by label."""

    rules: LabelRules = field(default_factory=LabelRules)
    """Rules of the user on the values."""
    shares: dict[int | str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Shares of pixels in the labels that show a value, or a class with files of its own, by this value or name."""
    sets: list[frozenset[int]] = field(default_factory=list)
    """The values of every label map."""
    empty: list[str] = field(default_factory=list)
    numbered: list[str] = field(default_factory=list)
    """Labels whose values number objects of one class."""
    smoothed: dict[str, float] = field(default_factory=dict)
    """Largest values of masks with soft edges, by the name of the label."""
    voids: dict[str, int] = field(default_factory=dict)
    """Values that stand apart from the classes, by the name of the label."""
    readings: list[str] = field(default_factory=list)
    """Decisions between several senses of colours and opacity, a sentence each."""
    coloured: list[str] = field(default_factory=list)
    """Labels whose colours need a table."""
    colours: set[str] = field(default_factory=set)
    """The colours of these."""
    outlined: list[str] = field(default_factory=list)
    """Labels that are drawn in closed thin lines."""
    cornered: dict[str, int] = field(default_factory=dict)
    """Values that all corners of a label have, by the name of the label, if these are not 0."""
    odd: list[str] = field(default_factory=list)
    """Descriptions of labels that are no maps of whole numbers."""
    names: dict[int, str] = field(default_factory=dict)
    """Names of values, where a file states them."""
    declared: set[str] = field(default_factory=set)
    """Names of classes in files of drawn labels, drawn or not."""
    palettes: Palettes = field(default_factory=Palettes)
    """Palettes of the labels."""
    disagreement: str = ""
    """Reason why it cannot be told whether colours or values tell the classes."""
    notes: list[str] = field(default_factory=list)
    """Remarks on what was drawn in more than one sense."""
    vote: TrimapVote = field(default_factory=TrimapVote)
    _undecided: list[tuple[_Counted, _Counted]] = field(default_factory=list)
    """Label maps that may be trimaps, which all tell together: as trimaps and as they are."""

    def add(
        self, name: str, label: Shaped[np.ndarray, "..."], class_name: str = "", has_channels: bool = False
    ) -> None:
        """Count the values of a label, or the pixels above 0 of the mask of a class.

        Args:
            name: Name of the file.
            label: Pixels of the label.
            class_name: The one class that it is of; empty for a label map.
            has_channels: Whether the last axis holds colours or opacity.
        """
        if self.rules.colours and not has_channels and label.dtype == np.uint8:
            label, has_channels = label[..., None], True
        if has_channels:
            try:
                reading = read_channels(label, name, self.rules)
            except ValueError as error:
                self._count_colours(name, label, error)
                return
            self.readings += reading.notes
            label = reading.values
        label, _ = split_unknown(label, self.rules.unknown or ())
        label = self.rules.quotients(label, name)
        if class_name:
            if share := float(np.count_nonzero(label) / label.size):
                self.shares[class_name].append(share)
            if len(shown := [value for value in distinct(label).tolist() if value]) > 1 and not is_antialiased(label):
                self.readings.append(all_of_it(name, [*map(str, shown)], class_name))
        elif is_antialiased(label):
            self.smoothed[name] = float(label.max())
            self._count(name, hardened(label))
        else:
            try:
                self._count(name, whole_numbers(label, name))
            except ValueError as error:
                self.odd.append(str(error))

    def add_palette(self, name: str, colours: Mapping[int, str], notes: Iterable[str] = ()) -> None:
        """Compare the colours that a file gives to its values with those of others.

        Args:
            name: Name of the file.
            colours: Colours by value.
            notes: Remarks on how its palette was read.
        """
        self.readings += notes
        try:
            self.readings += filter(None, [self.palettes.compare(colours, name)])
        except ValueError as error:
            self.disagreement = str(error)

    def add_drawn(self, name: str, masks: Mapping[str, Shaped[np.ndarray, "..."]], class_name: str = "") -> None:
        """Count the pixels of structures that were drawn, by the names of their classes.

        Of a file for one class they are those of its name, or if none has it all.
        """
        if class_name:
            own = {each for each in masks if name_key(each) == name_key(class_name)} or {*masks}
            masks = {class_name: np.logical_or.reduce([masks[each] for each in own])} if own else {}
        shown = {name: share for name, mask in masks.items() if (share := float(np.count_nonzero(mask) / mask.size))}
        for drawn, share in shown.items():
            self.shares[drawn].append(share)
        self.sets.append(frozenset())
        self.empty += [] if shown else [name]

    def _count_colours(self, name: str, label: Shaped[np.ndarray, "*grid channels"], error: ValueError) -> None:
        found = colour_counts(as_bytes(label[..., :3]))
        if self.rules.colours or len(found) > MAX_COLOURS:
            self.odd.append(str(error))
        else:
            self.coloured.append(name)
            self.colours |= found.keys() - {BLACK}

    def _count(self, name: str, label: Integer[np.ndarray, "..."]) -> None:
        if is_full_word(label):
            label = (label > 0).astype(np.uint8) * np.uint8(FULL)
        if self.rules.decides and self.vote.add(label):
            meant = split_unknown(foreground_of(label), (BAND,))[0]
            self._undecided.append((self._counted(name, meant), self._counted(name, label)))
        else:
            self._add(self._counted(name, label))

    def _counted(self, name: str, label: Integer[np.ndarray, "..."]) -> _Counted:
        if not (is_numbered := not self.rules.divisor and is_instances([label])):
            check_regions(label, name)
        if label.ndim == 2 and is_outline(label > 0):
            self.outlined.append(name)
        found = _counts(label)
        void, corner = suspected_void(label) if self.rules.decides else None, common_corner(label)
        corner = None if corner in (0, void) else corner
        if void is not None:
            found.pop(void)
        return _Counted(name, label.size, found, corner, void, is_numbered)

    def _add(self, label: _Counted) -> None:
        name = label.name
        self.cornered |= {} if label.corner is None else {name: label.corner}
        self.voids |= {} if label.void is None else {name: label.void}
        if (lowest := min(label.found)) < 0:
            self.odd.append(f"{name} is no label map: expected numbers from 0, got {lowest}. Number the classes.")
            return
        shown = {value: count for value, count in label.found.items() if value}
        for value, count in shown.items():
            self.shares[value].append(count / label.size)
        self.sets.append(frozenset(shown))
        self.empty += [] if shown else [name]
        self.numbered += [name] if label.is_numbered else []

    def _settle(self) -> None:
        """Count label maps that may be trimaps, by what those that were added tell together."""
        are_trimaps = self.vote.are_trimaps
        for as_trimap, plain in self._undecided:
            self.readings += [trimap_note(plain.name)] if are_trimaps else []
            self._add(as_trimap if are_trimaps else plain)
        self._undecided.clear()

    @property
    def classes(self) -> list[ClassFacts]:
        """The classes in order; those of a name, however it is spelt, are one."""
        self._settle()
        groups: dict[str, list[tuple[int | None, str, list[float]]]] = defaultdict(list)
        spelling = one_spelling(key for key in self.shares if isinstance(key, str))
        for key in sorted(self.shares, key=lambda key: (0, key, "") if isinstance(key, int) else (1, 0, name_key(key))):
            value = key if isinstance(key, int) else None
            name = spelling[str(key)] if value is None else self.names.get(value, str(key))
            groups[name_key(name)].append((value, name, self.shares[key]))
        return [_facts(group) for group in groups.values()]

    def all_notes(self) -> list[str]:
        """Return how labels were read: of each kind of decision the first in words and the number of others."""
        self._settle()
        notes = [*counted(dict.fromkeys(self.notes)), *counted(self.readings)]
        if self.rules.unknown is None and set().union(*self.sets) == {GREY, WHITE}:
            notes.append(HALF)
        notes += spelling_notes(key for key in self.shares if isinstance(key, str))
        drawn, unnamed = self._named(), self._unnamed()
        unused = [name for name in sorted(self.declared) if name_key(name) not in drawn]
        if len(unused) > SHOWN:
            notes.append(f"{len(unused)} classes have a name and were drawn on no image, such as {unused[0]!r}.")
        else:
            notes += [f"{name!r} is the name of a class that was drawn on no image." for name in unused]
        if len(drawn) == len(unnamed) == 1:
            notes += [f"{unnamed[0]} is taken for {name!r}, the only class that has a name." for name in drawn.values()]
        return notes

    def _named(self) -> dict[str, str]:
        """The classes that labels name, by what their spellings have in common."""
        names = [key for key in self.shares if isinstance(key, str)]
        return {name_key(name): name for name in reversed(names)}

    def _unnamed(self) -> list[int]:
        """The values of label maps that nobody names."""
        return sorted(key for key in self.shares if isinstance(key, int) and key not in self.names)

    def problems(self) -> Iterator[str]:
        """Yield what looks wrong, each with its reason and a fix."""
        self._settle()
        yield from self.odd[:SHOWN]
        if len(self.odd) > SHOWN:
            yield f"{len(self.odd) - SHOWN} other labels are no label maps either."
        if self.coloured:
            pairs = ",".join(f"{colour}={value}" for value, colour in enumerate(sorted(self.colours), start=1))
            yield (
                f"{len(self.coloured)} labels are drawn in colours, such as {self.coloured[0]}: expected one number a "
                f"pixel. Give each colour a value: --colours '{pairs}'; black is background."
            )
        if self.empty:
            yield (
                f"{len(self.empty)} of {len(self.sets)} labels are empty, such as {self.empty[0]}: right where the "
                "structure is absent. Take the label away if the image was not annotated."
            )
        if self.smoothed:
            name, top = next(iter(self.smoothed.items()))
            yield (
                f"{len(self.smoothed)} of {len(self.sets)} labels have smoothed edges, such as {name}: expected a few "
                f"classes, got values between 0 and {top:g}. Cut them off: label > {top / 2:g}."
            )
        if len(self.cornered) == len(self.sets) and len({*self.cornered.values()}) == 1:
            name, value = next(iter(self.cornered.items()))
            yield (
                f"all labels have {value} in their corners, such as {name}: expected the background there, which is 0. "
                f"If {value} is the background, give it 0, and a class another number."
            )
        if len(self.outlined) > (len(self.sets) - len(self.empty)) / 2:
            yield f"{len(self.outlined)} of {len(self.sets)} labels, such as {self.outlined[0]}, {FILL}"
        if self.disagreement:
            yield self.disagreement
        if (count := len(self.classes)) > FULL:
            yield (
                f"labels show {count} classes: expected at most {FULL}, as many as a label map of 8 bits holds. Leave "
                "some out, or unite them: `segment` refuses more."
            )
        names, unnamed = [*self._named().values()], self._unnamed()
        if names and unnamed and len(unnamed) + len(names) > 2:
            yield which_is_which("a label map", unnamed, names)
        yield from self._odd_values()

    def _odd_values(self) -> Iterator[str]:
        values = sorted(set[int]().union(*self.sets))
        if len(self.numbered) > (len(self.sets) - len(self.empty)) / 2:
            yield (
                f"label values look like numbers of objects: expected classes, got up to {values[-1]} in one image. "
                "Merge them: label > 0."
            )
        elif self.voids:
            name, void = next(iter(self.voids.items()))
            yield (
                f"{void} stands apart from the classes of {len(self.voids)} labels, such as {name}: it is taken for "
                f"pixels that nobody judged, and left out. Say so: --unknown {void}; if it is a class, give it another "
                "number."
            )
        elif len(values) > 1 and values[-1] == FULL and not any(len(found) > 1 for found in self.sets):
            others = ", ".join(map(str, values[:-1][:SHOWN]))
            yield (
                f"labels number one class in several ways, it seems: expected one value, got {others} in some "
                f"and {FULL} in others. Make them alike: label > 0."
            )
        elif len(values) > MANY_CLASSES:
            yield (
                f"labels hold {len(values)} values, from {values[0]} to {values[-1]}: expected a few classes. Check "
                "that they are label maps."
            )


def _facts(group: Sequence[tuple[int | None, str, list[float]]]) -> ClassFacts:
    """Describe a class by the value, the name and the shares of each way in which labels show it."""
    shares = [share for _, _, each in group for share in each]
    return ClassFacts(group[0][0], group[0][1], len(shares), float(np.mean(shares)))


def _counts(label: Integer[np.ndarray, "..."]) -> dict[int, int]:
    """Count the pixels of each value by the lengths of runs, of which labels have few."""
    flat = label.ravel()
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    values, which = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(which, np.diff(starts, append=flat.size))
    return dict(zip(values.tolist(), counts.astype(int).tolist(), strict=True))
