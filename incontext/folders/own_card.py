"""Description that a user's folder holds of itself: a card, or the dataset.json of nnU-Net or the Decathlon."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from megamed.path_templates import Templates
from megamed.vocabulary import CARD_NAMES, DESCRIPTION


@dataclass(frozen=True)
class OwnCard:
    """Facts that a folder states of itself; without a card there are none.

    Attributes:
        templates: Paths of images and labels, if the card says them.
        names: Names of label values.
        unknown: Values of pixels of labels that nobody judged.
        notes: Reasons why a card is not used.
    """

    templates: Templates | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    unknown: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def read_own_card(folder: Path) -> OwnCard:
    """Read the card of a folder; one that is faulty is not used, and a note says so."""
    if not any((folder / name).is_file() for name in (*CARD_NAMES, DESCRIPTION)):
        return OwnCard()
    # few folders have one: what reads it would take a sixth of a second of each command
    from megamed.arrangement import described
    from megamed.layouts import read_card

    try:
        if any((folder / name).is_file() for name in CARD_NAMES):
            card = read_card(folder)
            image, label = card.files.image, card.files.label
            has_templates = card.layout == "folder" and bool(image or label)
            templates = Templates(**{key: text for key, text in (("image", image), ("label", label)) if text})
            return OwnCard(templates if has_templates else None, card.labels, card.files.unknown)
        arrangement = described(folder)
    except ValueError as error:
        return OwnCard(notes=(f"the card is not used: {error}",))
    return OwnCard(None, arrangement.label_names, arrangement.files.unknown) if arrangement else OwnCard()
