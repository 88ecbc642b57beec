"""Description that a user's folder holds of itself: a card, the dataset.json of nnU-Net or the Decathlon, a list."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from incontext.folders.file_facts import is_picture
from megamed.card_files import cards_in
from megamed.failures import Attempt
from megamed.label_values import LabelRules
from megamed.pairing import Pairing
from megamed.path_templates import Templates
from megamed.readers import picture
from megamed.voc import read_label_map
from megamed.vocabulary import DESCRIPTION

if TYPE_CHECKING:
    from incontext.inference.image_source import ImageSource
    from megamed.schema import DatasetCard

COLOURED = ("RGB", "RGBA")
"""Pillow's modes of pictures in colours."""


@dataclass(frozen=True)
class OwnCard:
    """Facts that a folder states of itself; without a card there are none.

    Attributes:
        templates: Paths of images and labels, if the card says them.
        names: Names of label values.
        classes: Names of classes by what their files or folders are called; under the empty name that of the one class
            of which all labels are masks, whatever their values.
        unknown: Values of pixels of labels that nobody judged.
        colours: Label values by colour, for labels that are drawn in colours.
        notes: Reasons why a card, or a part of it, is not used.
        source: Dataset and licence that the card names; None without a card.
        level: Level of the resolution of images that have several; 0 is the full one.
        divisor: Divisor of numbers of objects that count by class.
    """

    templates: Templates | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[int, ...] = ()
    colours: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: "ImageSource | None" = None
    level: int = 0
    divisor: int | None = None

    def rules(self, pairing: Pairing, given: LabelRules) -> LabelRules:
        """Complete the rules of the user on label values.

        Args:
            pairing: The images of the folder, the first label of which tells whether labels are drawn in colours.
            given: Rules of the user, which count first.
        """
        if self.unknown and given.unknown is None:
            given = replace(given, unknown=self.unknown)
        if self.colours and not given.colours and any(_in_colours(pair.files[1]) for pair in pairing.labelled[:1]):
            given = replace(given, colours=self.colours)
        return replace(given, divisor=given.divisor or self.divisor)


def read_own_card(folder: Path) -> OwnCard:
    """Read the card of a folder; one that is faulty is not used, and a note says so."""
    has_card = bool(cards_in(folder))
    if not has_card and not (folder / DESCRIPTION).is_file():
        listed = read_label_map(folder)
        return OwnCard(names=listed.names, colours=listed.colours) if listed else OwnCard()
    # few folders have one: what reads it would take a sixth of a second of each command
    from incontext.inference.image_source import ImageSource
    from megamed.arrangement import described
    from megamed.layouts import read_card

    try:
        if has_card:
            card = read_card(folder)
            image, label = card.files.image, card.files.label
            has_templates = card.layout == "folder" and bool(image or label)
            templates = Templates(**{key: text for key, text in (("image", image), ("label", label)) if text})
            source = ImageSource.of(card.title or card.id, card.license)
            own = templates if has_templates else None
            return OwnCard(
                own,
                card.labels,
                _classes(card),
                card.files.unknown,
                card.files.colours,
                source=source,
                level=card.files.level,
                divisor=card.files.instance_divisor,
            )
        arrangement = described(folder)
    except ValueError as error:
        return OwnCard(notes=(f"the card is not used: {error}",))
    if arrangement is None:
        return OwnCard()
    # regions, of which labels are read as drawn, have names of their own
    names = {} if arrangement.regions else arrangement.label_names
    return OwnCard(None, names, unknown=arrangement.files.unknown)


def _classes(card: "DatasetCard") -> dict[str, str]:
    files = card.files
    classes = {called: card.labels[value] for called, value in files.classes.items() if value in card.labels}
    is_mask = files.positive_above is not None and not files.classes and len(card.labels) == 1
    return classes | ({"": next(iter(card.labels.values()))} if is_mask else {})


def _in_colours(label: Path) -> bool:
    """Whether a label is a picture in colours, as its header says."""
    if not is_picture(label):
        return False
    with Attempt(), picture.opened(label) as opened:
        return opened.mode in COLOURED
    return False
