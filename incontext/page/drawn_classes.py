"""The classes that are drawn in a folder, with names and colours, and those that were removed."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from megamed.files import make_folder, read_json, replace_file
from megamed.label_colours import colours_of

FILE = "classes.json"
LONGEST_NAME = 200
CONTROLS = re.compile(r"[\x00-\x1f]+")


@dataclass(frozen=True)
class DrawnClass:
    """A class that is drawn.

    Attributes:
        value: Value in label files.
        name: Name that people give it, in one line and without quotation marks, as it stands in label files.
        colour: Colour on the screen as `#rrggbb`.
    """

    value: int
    name: str
    colour: str

    def __post_init__(self) -> None:
        line = " ".join(CONTROLS.sub(" ", self.name).replace('"', "'").split())
        object.__setattr__(self, "name", line[:LONGEST_NAME].strip() or f"class {self.value}")


class DrawnClasses(Mapping[int, DrawnClass]):
    """Classes that can be drawn, by value, kept in a file.

    Args:
        store: Folder of the file, made when something is kept.

    Attributes:
        removed: Classes that were removed, by value, which no other takes: undo may bring their pixels back.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[int, DrawnClass] = {}
        self._stated: dict[int, str] = {}
        self.removed: dict[int, DrawnClass] = {}
        if (store / FILE).is_file():
            found = read_json(store / FILE, "Delete it to name the classes anew.")
            self._known, self.removed = (
                {each["value"]: DrawnClass(**each) for each in found.get(key, ())} for key in ("classes", "removed")
            )

    def __getitem__(self, value: int) -> DrawnClass:
        return self._known[value]

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def names(self) -> dict[int, str]:
        """Names by value."""
        return {value: each.name for value, each in self._known.items()}

    @property
    def file_colours(self) -> dict[int, str]:
        """Colours for label files, by value: those that such files stated, where they did."""
        return colours_of(self._known, self._stated)

    def meet(self, names: Mapping[int, str], colours: Mapping[int, str] | None = None) -> None:
        """Add the classes of labels to those that are known.

        Args:
            names: Names by value.
            colours: Colours that label files state, by value.
        """
        self.restore(names)
        self._stated |= colours or {}
        given = colours_of({**self._known, **names}, self._stated)
        for value, name in names.items():
            self._known.setdefault(value, DrawnClass(value, name, given[value]))

    def keep(self, classes: Sequence[DrawnClass]) -> None:
        """Keep other names and colours of classes, and further classes.

        Raises:
            ValueError: If values or names occur twice, one is missing, or a value is that of a class that was removed.
            Unwritable: If the system refuses to keep them.
        """
        for what, each in (("values", [c.value for c in classes]), ("names", [c.name for c in classes])):
            if len({*each}) < len(each):
                msg = f"classes share {what}: expected each once, got {each}. Choose others."
                raise ValueError(msg)
        known = {each.value: each for each in classes}
        if missing := self._known.keys() - known.keys():
            msg = f"class {self[min(missing)].name} is missing: expected all classes, got others. Remove it."
            raise ValueError(msg)
        if taken := self.removed.keys() & known.keys():
            name = self.removed[min(taken)].name
            msg = f"value {min(taken)} was that of {name}, which undo may bring back: expected another. Choose one."
            raise ValueError(msg)
        self._keep(known, self.removed)

    def remove(self, value: int) -> None:
        """Draw a class no more.

        Raises:
            Unwritable: If the system refuses to keep that.
        """
        left = {each: drawn for each, drawn in self._known.items() if each != value}
        self._keep(left, {**self.removed, value: self[value]})

    def restore(self, values: Iterable[int]) -> bool:
        """Bring classes back that were removed, as pixels of them are there again; tell whether there are any.

        Args:
            values: Values of these pixels, among others.

        Raises:
            Unwritable: If the system refuses to keep that.
        """
        back = {value: self.removed[value] for value in sorted({*values} & self.removed.keys())}
        names = {*self.names.values()}
        for value, each in back.items():
            if each.name in names:
                back[value] = replace(each, name=f"{each.name} ({value})")
        if back:
            left = {value: each for value, each in self.removed.items() if value not in back}
            self._keep({**self._known, **back}, left)
        return bool(back)

    def _keep(self, known: dict[int, DrawnClass], removed: dict[int, DrawnClass]) -> None:
        make_folder(self._store)
        told = {"classes": known, "removed": removed}
        content = {key: [vars(each) for each in found.values()] for key, found in told.items() if found}
        replace_file(self._store / FILE, json.dumps(content, indent=2) + "\n")
        self._known, self.removed = known, removed
