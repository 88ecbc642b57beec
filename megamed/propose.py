"""Propose a card for a folder of somebody's own data: how it is arranged, what its labels are, what to check."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from megamed import formats
from megamed.annotation_tools.slicer import is_nameless
from megamed.annotators import agreed_in
from megamed.arrangement import Arrangement, find_arrangement
from megamed.card_files import cards_in
from megamed.failures import Attempt
from megamed.file_names import SPLIT_WORDS
from megamed.files import replace_file
from megamed.label_findings import LabelFindings, look_at_labels
from megamed.label_values import suspected_void
from megamed.layouts import Case, Subject, find_subjects
from megamed.layouts.folder import IN_FOLDER
from megamed.pixels import is_volume_file, read_image
from megamed.readers import pyramid
from megamed.readers.source import SERIES
from megamed.readers.volume import Volume
from megamed.schema import DatasetCard, plain_slug, slugify
from megamed.voc import read_label_map
from megamed.vocabulary import CARD_NAMES

PICTURES_READ, VOLUMES_READ = 300, 20
"""Most cases looked into, spread over all of them."""
SLIDES_READ = 5
MOST_LABELS = 64
"""Values above this are numbers of objects, unless they are a few greys that most cases have."""
MOST_NOTES = 3
"""Remarks on shapes that are told."""
LOSSY_VALUES = 8
BLACKISH, WHITISH, WHITEST = 31, 224, 255
MOST_CLEAR = 0.95
BLACK = "#000000"
VOID_COLOUR, VOID = "#e0e0c0", 255
"""Colour of the borders in labels of VOC, of which nobody judged the pixels, and their index in its palette."""
ABSENT = 'write `missing_class = "background"` under [files]'
HOUNSFIELD_AIR = -200
MODALITIES = {
    r"\bct\b|tomograph": "CT",
    r"\b(mri?|t[12]w?|flair|dwi|adc|bold)\b": "MRI",
    r"\b(us|ultrasound|echo|sono\w*)\b": "Ultrasound",
    r"\b(cxr|x-?ray|radiograph\w*|mammogra\w*)\b": "X-ray",
    r"\boct\b": "OCT",
    r"\b(fundus|retina\w*|drive|stare|vessels?)\b": "Fundus photography",
    r"\b(endoscop\w*|colonoscop\w*|polyps?|kvasir|cvc)\b": "Endoscopy",
    r"\b(dermo\w*|skin|isic|lesions?)\b": "Dermoscopy",
    r"\b(histo\w*|patholog\w*|h&e|wsi|he)\b": "Histology (H&E)",
    r"\b(fluo\w*|dapi|confocal)\b": "Fluorescence microscopy",
    r"\b(em|tem|sem)\b": "Electron microscopy",
}
"""Modality by the pattern of the words in names that tell it."""
FOLDER_OF_CASE = rf"^(.+?){IN_FOLDER}.+$"
SUBJECT_PATTERNS = (
    FOLDER_OF_CASE,
    r"(?i)((?:patient|subject|sub|pat|case|id)[-_]?[0-9]+)",
    r"^(.+?)[-_](?:slice|frame|img|image|s|z|t|f)?[-_]?[0-9]+$",
    r"^([^-_]*[0-9][^-_]*)[-_].+$",
)
"""Ways to name subjects in case names; each counts only if it fits all names and joins some."""
EVERY_CASE = "^(.+)$"


@dataclass(frozen=True)
class Proposal:
    """A card, and what of it is a guess."""

    card: DatasetCard
    checks: tuple[str, ...]
    """Guesses to check before building, one line each."""

    def text(self) -> str:
        """Write the card as TOML, the checks as comments above it."""
        comments = (re.sub(r"[\x00-\x1f\x7f]+", " ", f"# Check: {check}") for check in self.checks)
        return "\n".join((*comments, "", to_toml(self.card)))


def propose(folder: Path) -> Proposal:
    """Look into a folder and propose the card that builds it.

    Raises:
        ValueError: If no images with labels are found in it.
    """
    arrangement = find_arrangement(folder)
    draft = _draft(folder, arrangement)
    subjects = find_subjects(folder, draft)
    if channels := _channels(draft, subjects):
        draft = draft.model_copy(update={"files": draft.files.model_copy(update={"channels": channels})})
        subjects = find_subjects(folder, draft)
    if level := _level(draft, subjects):
        draft = draft.model_copy(update={"files": draft.files.model_copy(update={"level": level})})
        subjects = find_subjects(folder, draft)
    cases = [case for subject in subjects for case in subject.cases]
    problems = [problem for subject in subjects for problem in subject.problems]
    if not cases:
        msg = f"{folder} has no usable case: expected images with labels, got: {problems[0] if problems else 'none'}"
        raise ValueError(msg)
    looked = _spread(cases)
    names = arrangement.label_names or _names_in_labels(looked)
    draft = draft.model_copy(update={"labels": _unique(names) or draft.labels})
    found = look_at_labels(looked, draft)
    described, label_checks = _describe_labels(draft, bool(names), found)
    described = _with_listed_names(described, folder)
    label_checks += _corner_checks(described, found)
    modality, modality_check = guess_modality(f"{folder.resolve().name} {arrangement.hints}", looked)
    pattern, subject_check = guess_subjects(draft, cases)
    facts = described.model_dump() | {"modality": modality, "subject_pattern": pattern, "consensus": agreed_in(cases)}
    checks = [f"{len(cases)} cases found; {arrangement.words}.", *label_checks, modality_check, subject_check]
    if channels:
        checks.append(f"channels {', '.join(channels)} are modalities of their own; remove those not wanted.")
    if level:
        checks.append(f"images are read at level {level} of their resolution; `level` under [files] chooses another.")
    if len(looked) < len(cases):
        checks.append(f"{len(looked)} cases were looked into; the others may hold labels that [labels] lacks.")
    if problems:
        checks.append(f"{len(problems)} cases are unusable and will be rejected, such as: {problems[0]}")
    checks.append("license, citation and anatomy are left out; add what you know.")
    return Proposal(DatasetCard.model_validate(facts), tuple(checks))


def write_proposal(proposal: Proposal, folder: Path, force: bool = False) -> Path:
    """Write the card into the folder that it describes.

    Raises:
        FileExistsError: If the folder has a card already.
    """
    present = [path.name for path in cards_in(folder)]
    if present and (not force or present != [CARD_NAMES[0]]):
        msg = f"{folder} has a card: expected none, got {present[0]}. Edit it, or remove it to start over."
        raise FileExistsError(msg)
    path = folder / CARD_NAMES[0]
    replace_file(path, proposal.text())
    return path


def guess_modality(hints: str, cases: Sequence[Case]) -> tuple[str, str]:
    """Guess the modality from words, else from the values of images; the guess and what to check."""
    words = re.sub(r"[-_./\\]+", " ", hints.lower())
    named = next((modality for pattern, modality in MODALITIES.items() if re.search(pattern, words)), None)
    modality, reason = (named, "names say so") if named else _modality_of_pixels(cases)
    advice = "CT is clipped to [-500, 1000] HU, MRI to its percentiles 0.5 and 99.5, anything else not at all"
    return modality, f"modality {modality!r} is a guess ({reason}); {advice}."


def guess_subjects(card: DatasetCard, cases: Sequence[Case]) -> tuple[str, str]:
    """Guess how case names name subjects; the pattern and what to check."""
    is_stated = card.layout in ("bids", "dicom") or all(map(_names_patient, cases))
    if is_stated or any(case.split for case in cases):
        return EVERY_CASE, "subjects and splits are those that the folder states."
    names = [case.name for case in cases]
    for pattern in SUBJECT_PATTERNS:
        matches = [re.search(pattern, name) for name in names]
        may_be_subject = partial(_may_be_subject, pattern=pattern, needs_number=card.layout == "pairs")
        subjects = {match[1] for match in matches if match and may_be_subject(match[1])}
        if all(matches) and 1 < len(subjects) < len(names):
            first = card.model_copy(update={"subject_pattern": pattern}).subject_of(names[0])
            words = f"{len(names)} cases of {len(subjects)} subjects: case {names[0]!r} is taken to be of {first!r}"
            break
    else:
        pattern, words = EVERY_CASE, f"each of the {len(names)} cases is taken to be a subject of its own"
    return pattern, f"{words}; images of one person must be of one subject, or tests see what was trained on."


def _names_patient(case: Case) -> bool:
    """Whether a case is a DICOM series that names its patient; else it is called as its folders."""
    is_series = all(source.part == SERIES for source in case.images.values())
    return is_series and (case.subject != case.name or IN_FOLDER not in case.name)


def _may_be_subject(name: str, pattern: str, needs_number: bool) -> bool:
    """Whether a part of a case's name may be that of a subject: one with a number, else that of a folder but splits."""
    if pattern == FOLDER_OF_CASE and not needs_number:
        return not SPLIT_WORDS.fullmatch(name)
    return any(map(str.isdecimal, name))


def to_toml(card: DatasetCard) -> str:
    """Write what a card says beyond the defaults as TOML.

    >>> print(to_toml(DatasetCard(id="a", modality="CT", labels={1: "lung"})))
    id = "a"
    modality = "CT"
    <BLANKLINE>
    [labels]
    1 = "lung"
    <BLANKLINE>
    """
    return "".join(_table((), card.model_dump(mode="json", exclude_defaults=True)))


def _spread(cases: Sequence[Case]) -> list[Case]:
    """Choose cases to look into."""
    first = next(iter(cases[0].images.values()))
    most = VOLUMES_READ if is_volume_file(first) else PICTURES_READ
    places = np.linspace(0, len(cases) - 1, min(most, len(cases)))
    return [cases[place] for place in places.astype(int).tolist()]


def _draft(folder: Path, arrangement: Arrangement) -> DatasetCard:
    """Make a card that is enough to find the files."""
    name = folder.resolve().name.encode(errors="replace").decode()
    return DatasetCard(
        id=plain_slug(name) or "dataset",
        title=name,
        modality="unknown",
        labels=_unique(arrangement.label_names) or {1: "label"},
        derived_labels=arrangement.regions,
        layout=arrangement.layout,
        files=arrangement.files,
    )


def _channels(card: DatasetCard, subjects: Sequence[Subject]) -> dict[str, str]:
    """Make a modality of each channel of images that have several, as the first that can be read has them."""
    names: tuple[str, ...] = ()
    cases = [case for subject in subjects for case in subject.cases if card.layout in ("folder", "table")]
    for source in (source for case in cases[:PICTURES_READ] for source in case.images.values()):
        try:
            names = formats.channels_in(source)
            break
        except ValueError:
            continue
    slugs = Counter(map(slugify, names))
    return {
        name: f"channel {name}" if name.isdecimal() or slugs[slugify(name)] > 1 or not slugify(name) else name
        for name in names
    }


def _level(card: DatasetCard, subjects: Sequence[Subject]) -> int:
    """Choose the level of images that have several: that of labels of one size, else a workable one."""
    chosen = 0
    cases = [case for subject in subjects for case in subject.cases if card.layout == "folder"]
    for case in cases[:SLIDES_READ]:
        with Attempt():
            image, label = next(iter(case.images.values())).files[0], case.labels[0].source
            sizes = formats.sizes_in(image)
            chosen = max(chosen, pyramid.workable(sizes))
            if len(sizes) > 1 and not formats.drawn_format(label.files[0]):
                own = formats.sizes_in(label.files[0]) or [formats.read(label).array.shape[:2]]
                return chosen if len(own) > 1 else sizes.index(own[0])
    return chosen


def _unique(names: dict[int, str]) -> dict[int, str]:
    """Give every label value a name that no other has."""
    slugs = Counter(slugify(name) for name in names.values())
    return {
        value: name if slugify(name) and slugs[slugify(name)] == 1 else f"label {value}"
        for value, name in names.items()
    }


def _names_in_labels(cases: Sequence[Case]) -> dict[int, str]:
    """Number the names that structures have in the files of labels, or in a list that lies beside label maps."""
    files = {label.source.files[0]: None for case in cases for label in case.labels}
    by_slug: dict[str, str] = {}
    for path in files:
        if found := formats.drawn_format(path):
            named = [name for name in found.names(path).values() if not is_nameless(name)]
            by_slug |= {slugify(name): name for name in named if slugify(name)}
    if by_slug:
        return dict(enumerate(sorted(by_slug.values())[:MOST_LABELS], start=1))
    return dict(formats.names_beside(next(iter(files)))[0])


def _describe_labels(card: DatasetCard, named: bool, found: LabelFindings) -> tuple[DatasetCard, list[str]]:
    """Put on a card what the values or colours of its labels mean, with what to check.

    Raises:
        ValueError: If no label can be read, or all are empty.
    """
    colours = [colour for colour in sorted(found.colours) if colour != BLACK]
    notes = [f"{note}." for note in list(found.notes)[:MOST_NOTES]]
    if not found.present and not colours:
        if found.is_drawn and not found.unreadable:
            return card, [f"nothing is drawn in the {found.cases} cases that were looked into.", *notes]
        reason = found.unreadable[0] if found.unreadable else "only zeros."
        msg = f"{card.id} has no labelled pixel: expected some in {found.cases} cases, got {reason}"
        raise ValueError(msg)
    values = sorted(found.present)
    are_trimaps = "trimap" in card.files.label.lower() or found.trimaps.are_trimaps
    if trimap := _trimap_labels(values) if are_trimaps else None:
        labels, rules, check = trimap
    else:
        labels, rules, check = _colour_labels(colours) if colours else _value_labels(values, found)
    checks = (
        [f"{len(found.unreadable)} labels cannot be read, such as: {found.unreadable[0]}"] if found.unreadable else []
    )
    if named and not colours:
        checks += _unknown_checks(card.files.unknown)
        stray = sorted(set(found.present) - {*card.labels, *card.files.unknown})
        checks += [f"label values {stray} have no name in the folder; add them to [labels]."] if stray else []
        if card.files.classes:
            checks.append(f"a case without a file of a class is unknown there; {ABSENT} if it means absent.")
        return card, [*checks, f"labels are {found.areas(card.labels)}.", *notes]
    described = card.model_copy(update={"labels": labels, "files": card.files.model_copy(update=rules)})
    checks += _unknown_checks(described.files.unknown)
    shown = labels if labels.keys() == found.present.keys() - {*described.files.unknown} else {}
    return described, [*checks, f"{check}{f': {found.areas(shown)}' if shown else ''}."]


def _with_listed_names(card: DatasetCard, folder: Path) -> DatasetCard:
    """Name the labels of a card as a `labelmap.txt` in the folder does, by their values or their colours."""
    listed = read_label_map(folder)
    if listed is None:
        return card
    by_colour = {value: listed.colours.get(colour) for colour, value in card.files.colours.items()}
    numbers = {value: by_colour.get(value) if by_colour else value for value in card.labels}
    names = {value: listed.names.get(number or 0, card.labels[value]) for value, number in numbers.items()}
    return card.model_copy(update={"labels": _unique(names)})


def _unknown_checks(unknown: Sequence[int]) -> list[str]:
    """Tell which values are taken to be of pixels that nobody judged."""
    values = " and ".join(map(str, unknown))
    return (
        [f"pixels of value {values} are taken for unknown: nobody judged them, so they count nowhere."]
        if unknown
        else []
    )


def _corner_checks(card: DatasetCard, found: LabelFindings) -> list[str]:
    """Tell that all labels have one value in their corners, where most labels have the background."""
    value, count = found.cornered.most_common(1)[0] if found.cornered else (0, 0)
    if value not in card.labels or count < found.cases:
        return []
    return [
        f"all labels have {value} in their corners: if that is the background, give it 0, and a label another number."
    ]


def _colour_labels(colours: list[str]) -> tuple[dict[int, str], dict[str, object], str]:
    """Make a label of every colour; labels, file rules, what to check."""
    unknown = {VOID_COLOUR: VOID} if VOID_COLOUR in colours and len(colours) > 1 else {}
    colours = [colour for colour in colours if colour not in unknown]
    table = {colour: value for value, colour in enumerate(colours[:MOST_LABELS], start=1)}
    labels = {value: f"label {value}" for value in table.values()}
    check = f"labels are drawn in {len(colours)} colours; give each its name in [labels]"
    if len(colours) > MOST_LABELS:
        check = f"labels have {len(colours)} colours, as JPEG blurs them; draw them in few, or they are rejected"
    return labels, {"colours": table | unknown, "unknown": tuple(unknown.values())}, check


def _trimap_labels(values: list[int]) -> tuple[dict[int, str], dict[str, object], str] | None:
    """Tell what values of trimaps mean, whose borders are unknown, as above; None if they are those of others."""
    check = "labels are trimaps of a foreground, name it, a background and a border that nobody judged"
    if values == [1, 2, 3]:
        return {1: "label", 2: "background"}, {"unknown": (3,)}, check
    return ({1: "label"}, {"unknown": (128,), "positive_above": 0}, check) if values == [128, 255] else None


def _value_labels(values: list[int], found: LabelFindings) -> tuple[dict[int, str], dict[str, object], str]:
    """Decide whether values are a mask's, blurred or not, numbers of objects, or labels, and so on as above."""
    if (void := suspected_void(np.array([0, *values]))) is not None:
        labels, rules, check = _value_labels([value for value in values if value != void], found)
        return labels, rules | {"unknown": (void,)}, check
    share = found.share
    clear = sum(share[value] for value in values if not BLACKISH < value < WHITISH) / sum(share.values())
    if values[0] >= WHITISH or (values[-1] >= WHITISH and len(values) > LOSSY_VALUES and clear > MOST_CLEAR):
        above = 0 if len(values) == 1 else 127
        return {1: "label"}, {"positive_above": above}, f"labels are masks, all above {above} is foreground; name it"
    are_greys = len(values) <= LOSSY_VALUES and all(2 * found.present[value] > found.cases > 1 for value in values)
    if values[-1] > (WHITEST if are_greys else MOST_LABELS):
        return (
            {1: "object"},
            {"positive_above": 0},
            f"labels number objects up to {values[-1]}; all are one label, name it",
        )
    if len(values) == 1:
        return {1: "label"}, {} if values == [1] else {"positive_above": 0}, "there is one label; name it"
    return {value: f"label {value}" for value in values}, {}, "give the labels their names in [labels]"


def _modality_of_pixels(cases: Sequence[Case]) -> tuple[str, str]:
    """Guess the modality from the first image that can be read."""
    for source in (source for case in cases for source in case.images.values()):
        try:
            image = read_image(source)
        except ValueError:
            continue
        if isinstance(image, Volume):
            low = float(image.array.min())
            return ("CT" if low <= HOUNSFIELD_AIR else "MRI"), f"its values begin at {low:g}"
        return "Photograph or microscopy", "it is a picture"
    return "unknown", "no image can be read"


def _table(path: tuple[str, ...], facts: dict[str, Any]) -> Iterator[str]:
    """Yield a table of TOML and the tables in it."""
    if path:
        yield f"\n[{'.'.join(path)}]\n"
    tables = {key: value for key, value in facts.items() if isinstance(value, dict)}
    for key, value in facts.items():
        if key not in tables and value is not None:
            yield f"{_key(key)} = {_text(value)}\n"
    for key, value in tables.items():
        if value:
            yield from _table((*path, _key(key)), value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: object) -> str:
    """Write a string, number or list as TOML, whose strings are those of JSON but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
