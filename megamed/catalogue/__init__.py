"""The catalogue of published datasets: their cards, search among them, and descriptions of how to get and build one."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from megamed.licences import is_open
from megamed.schema import DatasetCard, unknown
from megamed.vocabulary import Access, Role

FOLDER = Path(__file__).parent
WIDTH = 100

ACCESS = {
    None: "The card does not know how to get it; its citation leads to its authors.",
    "open": "Download it from its homepage.",
    "registration": "Register on its homepage, accept the terms, and download it.",
    "request": "Ask for it as its homepage or its paper says; access is granted case by case.",
}


@dataclass(frozen=True)
class CardFilter:
    """Conditions on a dataset card, all of which must hold; an empty one always does."""

    modality: str = ""
    """Words of the modality, the last of which may be incomplete: `CT`, `colour fundus`, `micro`."""
    anatomy: str = ""
    """Words of the anatomy, the last of which may be incomplete."""
    licence: str = ""
    """Words of the licence (`CC BY` is not `CC BY-NC`), `open` for any open licence, `unknown` for none known."""
    access: Access | None = None
    """Way to obtain the files."""
    role: Role | None = None
    """Purpose that the dataset may serve."""

    def accepts(self, card: DatasetCard) -> bool:
        """Whether a card meets all conditions."""
        return (
            _begins_words(card.modality, self.modality)
            and _begins_words(card.anatomy, self.anatomy)
            and self._accepts_licence(card.license)
            and self.access in (None, card.access)
            and self.role in (None, card.role)
        )

    def _accepts_licence(self, licence: str | None) -> bool:
        match self.licence.lower():
            case "":
                return True
            case "open":
                return is_open(licence)
            case "unknown":
                return licence is None
            case words:
                return re.search(rf"(?<!\w){re.escape(words)}(?![\w-])", (licence or "").lower()) is not None


def card_ids() -> list[str]:
    """List the datasets of the catalogue."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def card_path(dataset: str) -> Path:
    """Return the file of a card.

    Raises:
        ValueError: If the catalogue has no such dataset.
    """
    if dataset not in (known := card_ids()):
        raise ValueError(unknown("dataset", dataset, known))
    return FOLDER / f"{dataset}.toml"


def load_card(dataset: str) -> DatasetCard:
    """Read the card of a dataset.

    Raises:
        ValueError: If the catalogue has no such dataset.
    """
    return DatasetCard.from_toml(card_path(dataset))


def cards() -> list[DatasetCard]:
    """Read all cards, sorted by dataset."""
    return [DatasetCard.from_toml(path) for path in sorted(FOLDER.glob("*.toml"))]


def describe(card: DatasetCard) -> str:
    """Describe a dataset: its facts, the way to obtain it, and the commands that build it."""
    names = ", ".join(f"{value} {name}" for value, name in card.labels.items())
    facts = {
        "Modality": card.modality,
        "Anatomy": card.anatomy,
        "Labels": names or "their values are not in the card",
        "Unions": ", ".join(card.derived_labels),
        "Role": card.role,
        "Licence": card.license or "not known; ask before you use it",
        "Homepage": card.homepage,
        "Citation": card.citation,
        "Notes": card.notes,
        "Facts from": card.facts,
    }
    lines = [_wrapped(f"{label:<12}{text}") for label, text in facts.items() if text]
    tree = textwrap.indent(card.tree.strip(), "  ")
    parts = [f"{card.id}: {card.title}", "\n".join(lines), ACCESS[card.access]]
    parts += [f"What to expect in its folder:\n{tree}"] if tree else []
    return "\n\n".join([*parts, _to_build(card)])


def _to_build(card: DatasetCard) -> str:
    """List the steps that are left to do by hand, then the commands that build a dataset."""
    tasks = []
    if card.layout == "folder" and not card.files.image:
        tasks.append("Bring images and labels of the same names into FOLDER/images and FOLDER/labels.")
    if not card.labels:
        tasks.append("Name the label values under [labels] in FOLDER/card.toml.")
    commands = f"megamed show {card.id} --toml > FOLDER/card.toml\nmegamed build FOLDER --out COLLECTION"
    return "\n".join(["To build it:", *(f"  {line}" for line in (*tasks, *commands.splitlines()))])


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * 12, break_long_words=False, break_on_hyphens=False)


def _begins_words(text: str, words: str) -> bool:
    """Whether words stand in a text, from the beginning of one on: `CT` is in `PET/CT`, but not in `OCT`."""
    return re.search(rf"(?<!\w){re.escape(words)}", text, re.IGNORECASE) is not None
