"""The values and colours that the labels of some cases hold, and how often and how large they are."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Real

from megamed import formats
from megamed.annotation_tools.drawn import notes_in
from megamed.label_values import common_corner, split_unknown
from megamed.labels import read_annotations
from megamed.layouts import Case, LabelSource
from megamed.pixels import read_colours, read_image, read_label
from megamed.readers.source import Source
from megamed.readers.volume import Volume
from megamed.schema import DatasetCard
from megamed.trimaps import TrimapVote


@dataclass
class LabelFindings:
    """Values and colours counted in the label files of some cases."""

    cases: int = 0
    present: Counter[int] = field(default_factory=Counter)
    """Number of cases in which each label value occurs."""
    share: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Share of the pixels that each label value covers, summed over cases; of several annotators it is the mean."""
    colours: Counter[str] = field(default_factory=Counter)
    """Number of label files in which each colour occurs, where labels are drawn in colours."""
    trimaps: TrimapVote = field(default_factory=TrimapVote)
    cornered: Counter[int] = field(default_factory=Counter)
    """Number of label maps whose corners all have a value, by this, if it is not 0."""
    unreadable: list[str] = field(default_factory=list)
    is_drawn: bool = False
    """Whether labels are files of shapes, which name what they show."""
    notes: dict[str, None] = field(default_factory=dict)
    """Remarks on what of these was left out or taken in one of several senses."""

    def areas(self, labels: Mapping[int, str]) -> str:
        """Say how often and how large labels are."""
        return ", ".join(
            f"{value} {name!r} ({self.share[value] / max(self.present[value], 1):.1%} where present, "
            f"in {self.present[value]} of {self.cases} cases)"
            for value, name in labels.items()
        )

    def _add(self, shares: Mapping[int, Mapping[str, float]]) -> None:
        """Add a case: the share of each value by annotator."""
        for value, by_annotator in shares.items():
            self.present[value] += 1
            self.share[value] += sum(by_annotator.values()) / len(by_annotator)


def look_at_labels(cases: Sequence[Case], card: DatasetCard) -> LabelFindings:
    """Read the labels of some cases and count what is in them."""
    found = LabelFindings(cases=len(cases))
    for case in cases:
        shares: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        try:
            if card.layout == "dicom" or any(map(is_drawn, case.labels)):
                for annotator, value, share in _drawn_shares(case, card):
                    shares[value][annotator] += share
                found.notes |= {note: None for label in case.labels for note in notes_in(label.source.files[0])}
                found.is_drawn = True
            else:
                for label in case.labels:
                    for value, share in _shares(found, label.source, label.value):
                        shares[value][label.annotator] += share
        except ValueError as error:
            found.unreadable.append(str(error))
        found._add(shares)
    return found


def is_drawn(label: LabelSource) -> bool:
    """Whether a label is a file whose structures have names, and which needs its image to be read."""
    return formats.drawn_format(label.source.files[0]) is not None


def _shares(found: LabelFindings, source: Source, value: int | None) -> Iterator[tuple[int, float]]:
    """Yield the values in a label file with their shares; of one in colours only these are counted."""
    try:
        read = read_label(source)
    except ValueError:  # of colours, or else read_colours raises the same again
        colours = read_colours(source).reshape(-1, 3)
        found.colours.update(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.unique(colours, axis=0).tolist())
        return
    label: np.ndarray = read.array if isinstance(read, Volume) else read
    if label.dtype.kind in "iu":
        found.trimaps.add(label)
        found.cornered.update(filter(None, [common_corner(label)]))
    try:
        yield from _of_map(label if value is None else (label > 0) * np.uint8(value))
    except ValueError as error:
        msg = f"{source.name} is no label: {error}"
        raise ValueError(msg) from error


def _drawn_shares(case: Case, card: DatasetCard) -> Iterator[tuple[str, int, float]]:
    """Yield annotators, values and shares of what is drawn on an image, whose grid is needed to read it."""
    image = read_image(next(iter(case.images.values())))
    for annotator, annotation in read_annotations(case, card, image).items():
        for layer in annotation.layers:
            yield from ((annotator, value, share) for value, share in _of_map(layer))


def _of_map(label: Real[np.ndarray, "*axes"]) -> Iterator[tuple[int, float]]:
    """Yield the values of a label map with their shares."""
    values, counts = np.unique(split_unknown(label, ())[0], return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if not (value >= -1 and value == int(value)):
            msg = f"expected whole numbers from 0, got {value}."
            raise ValueError(msg)
        if value:
            yield int(value), count / label.size
