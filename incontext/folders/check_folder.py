"""Check of a user's folder before anything is segmented: what would be used, what labels mean, what looks wrong."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from incontext.folders.file_facts import FileFacts, is_picture, look_at
from incontext.folders.folder_images import read_folder
from incontext.folders.label_survey import SHOWN, ClassFacts, LabelSurvey
from incontext.folders.own_card import read_own_card
from incontext.images.channels import Channel
from incontext.images.contrast import QUANTILES, distances, most_apart
from incontext.images.drawn_formats import drawn_format
from incontext.images.examples import MOST_JUDGED, spread
from incontext.images.fields_of_view import COVER, is_field_of_view
from incontext.images.source_image import NONE
from megamed import formats
from megamed.class_names import name_key
from megamed.failures import Attempt
from megamed.label_values import LabelRules
from megamed.pairing import ImagePair, Pairing
from megamed.path_templates import Templates
from megamed.readers.orientation_tag import UPRIGHT
from megamed.readers.remembered import is_remembering
from megamed.readers.stored import Canvas

if TYPE_CHECKING:
    from incontext.folders.expectation import Expectation

SAMPLED_LABELLED, SAMPLED_BARE = 16, 32
"""Number of images whose pixels are read."""
MOST_PICTURE_LABELS, MOST_VOLUME_LABELS = 300, 12
"""Number of labels whose pixels are read."""
SAMPLED_PIXELS = 2**14
CLIPPED = (0.5, 99.5)
"""Percentiles between which images of more than eight bits are compared."""
SAME_SHAPE = 0.02
"""Largest relative difference in height to width of one picture in two sizes."""
SIDES_APART = 4.0
"""Largest ratio of the longer sides of two images of a folder."""


@dataclass(frozen=True)
class FolderCheck:
    """Contents of a folder, and problems in it.

    Attributes:
        folder: The folder.
        arrangement: Description of the places of images and labels.
        labelled: Number of images with a label.
        bare: Number of images without one.
        formats: Number of images of each format.
        sizes_px: Smallest and largest size of images, as far as headers tell.
        classes: Facts of each label value.
        notes: Assumptions, and files that were not looked at.
        problems: Descriptions of what looks wrong, each with its reason and a fix.
        expected: Judgement of the labelled images on each other, if they were asked; it is no part of the check.
    """

    folder: str
    arrangement: str
    labelled: int
    bare: int
    formats: dict[str, int]
    sizes_px: tuple[tuple[int, ...], ...]
    classes: tuple[ClassFacts, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    expected: "Expectation | None" = None

    def lines(self) -> Iterator[str]:
        """Describe the files of the folder for people."""
        formats = ", ".join(f"{count} {name}" for name, count in self.formats.items())
        yield f"{self.labelled} labelled and {self.bare} bare images ({formats}); {self.arrangement}."
        if self.sizes_px:
            smallest, largest = ("×".join(map(str, size)) for size in self.sizes_px)
            yield f"Sizes: {smallest}" + (f" to {largest}." if smallest != largest else ".")
        for each in self.classes:
            yield f"Label {each.name}: in {each.images} images, {each.share:.2%} of their pixels."
        yield from (f"Note: {note}" for note in self.notes)
        yield from (f"Problem: {problem}" for problem in self.problems)
        if not self.problems:
            yield "Nothing looks wrong with the files."

    def as_json(self) -> str:
        """Write the same for programs."""
        return json.dumps(asdict(self), indent=2)


def check_folder(
    folder: Path,
    templates: Templates | None = None,
    rules: LabelRules | None = None,
    names: Mapping[int, str] | None = None,
    channel: Channel = None,
    level: int | None = None,
) -> FolderCheck:
    """Look at the headers of all images of a folder, at its labels, and at the pixels of some images.

    Args:
        folder: Folder in which some images have labels.
        templates: Paths of images and labels, where their names leave open which belong together.
        rules: What the user says of the values of labels; of unknown ones, by default what a card in the folder says.
        names: Names that the user gives to label values, before those of a card.
        channel: The channel to look at of images that have several.
        level: Level of the resolution of images that have several, by default that of the folder's card.

    Raises:
        ValueError: If there is no image, or names have several readings.
        OSError: If the folder cannot be read.
    """
    pairing = read_folder(folder, templates, names or NONE)
    card = read_own_card(folder)
    images = _look_at_images(pairing, channel, card.level if level is None else level)
    rules = card.rules(pairing, rules or LabelRules())
    findings, label_facts, looked = _look_at_labels(pairing, images, rules)
    findings.names |= {**card.names, **(names or {})}
    known = [facts.size_px for facts in images.values() if facts.size_px]
    sizes = sorted(known, key=lambda size: (np.prod(size), size))
    notes = [*pairing.notes, *findings.all_notes()]
    shown = {key for each in findings.classes for key in (each.value, name_key(each.name))}
    notes += [
        f"no label that was looked at shows {value} {name!r}."
        for value, name in (names or {}).items()
        if shown.isdisjoint((value, name_key(name)))
    ]
    if looked < len(pairing.labelled):
        notes.append(f"{looked} of {len(pairing.labelled)} labels were looked at.")
    closed = sum(not (facts.size_px or facts.fault) and facts.pixels is None for facts in images.values())
    if closed:
        notes.append(f"{closed} of {len(images)} images were not opened: of volumes a sample is, and no DICOM series.")
    return FolderCheck(
        folder=str(folder),
        arrangement=pairing.arrangement,
        labelled=len(pairing.labelled),
        bare=len(pairing.bare),
        formats=dict(Counter(facts.format for facts in images.values()).most_common()),
        sizes_px=(sizes[0], sizes[-1]) if sizes else (),
        classes=tuple(findings.classes),
        notes=tuple(notes),
        problems=(
            *_unlabelled(pairing),
            *_faults([*images.values(), *(facts for each in label_facts.values() for facts in each)]),
            *_sizes_apart(images, label_facts),
            *findings.problems(),
            *_fields_of_view(images, label_facts),
            *_orientations(list(images.values())),
            *_image_sizes(sizes),
            *_contrast(pairing, images),
            *_copies(pairing, images),
        ),
    )


def _look_at_images(pairing: Pairing, channel: Channel, level: int) -> dict[str, FileFacts]:
    """Read the headers of all images, and some pixels of some, by the names of the images.

    Within `remembering` those are read, and whole, which judge each other afterwards.
    """
    kept = is_remembering()
    labelled = {pair.name for pair in _spread(pairing.labelled, MOST_JUDGED if kept else SAMPLED_LABELLED)}
    sampled = labelled | {pair.name for pair in _spread(pairing.bare, SAMPLED_BARE)}

    def facts_of(pair: ImagePair) -> FileFacts:
        is_draft = not (kept and pair.name in labelled)
        return _thinned(look_at(pair.image, pair.name in sampled, channel=channel, level=level, draft=is_draft))

    return {pair.name: facts_of(pair) for pair in pairing.pairs}


def _look_at_labels(
    pairing: Pairing, images: Mapping[str, FileFacts], rules: LabelRules
) -> tuple[LabelSurvey, dict[str, list[FileFacts]], int]:
    """Read the labels of all images, or of some where there are many.

    Returns:
        What their values are, the facts of each image's label, and the number of labelled images that were looked at.
    """
    findings = LabelSurvey(rules)
    facts: dict[str, list[FileFacts]] = {}
    is_volumes = any(not is_picture(pair.image) for pair in pairing.labelled[:1])
    chosen = _spread(pairing.labelled, MOST_VOLUME_LABELS if is_volumes else MOST_PICTURE_LABELS)
    for pair in chosen:
        facts[pair.name] = []
        for class_name, paths in pair.labels.items():
            canvas = _canvas(pair, images[pair.name]) if drawn_format(paths[0]) else None
            if canvas and drawn_format(paths[0], canvas):
                _look_at_drawn(findings, pair, paths, canvas, class_name)
                continue
            parts = [look_at(path, pixels=True, label=rules) for path in paths]
            for part in parts:
                findings.add_palette(_name(part.path, pairing), part.colours, part.notes)
            for name, label in _united(parts):
                findings.add(_name(name, pairing), label, class_name, any(part.has_channels for part in parts))
                findings.names |= dict(formats.names_beside(name)[0])
            facts[pair.name] += map(_thinned, parts)
    return findings, facts, len(chosen)


def _canvas(pair: ImagePair, image: FileFacts) -> Canvas:
    """Take the size and the place of an image; of a volume that was not opened they are read."""
    if not image.size_px and not image.fault:
        image = look_at(pair.image, pixels=True)
    return Canvas(pair.image, image.size_px, image.geometry)


def _look_at_drawn(
    findings: LabelSurvey, pair: ImagePair, paths: Sequence[Path], canvas: Canvas, class_name: str
) -> None:
    """Draw what an annotation tool saved for an image."""
    for path in paths if canvas.shape else ():
        found = drawn_format(path, canvas)
        with Attempt() as reading:
            drawn = found.read(path, canvas) if found else None
            segments = {each.name: each.draw() for each in drawn.segments} if drawn else {}
            findings.declared |= {*found.names_for(path, pair.image).values()} if found and not class_name else set()
        if reading.error:
            findings.odd.append(reading.reason)
            continue
        findings.add_drawn(f"{path.name} for {pair.name}", segments, class_name)
        findings.notes += drawn.notes if drawn else []


def _name(path: Path, pairing: Pairing) -> str:
    return path.relative_to(pairing.folder).as_posix()


def _united(parts: Sequence[FileFacts]) -> Iterator[tuple[Path, np.ndarray]]:
    """Unite the parts of a label if they have one size; yield each by itself otherwise."""
    drawn = [(part.path, part.pixels) for part in parts if part.pixels is not None]
    if len({label.shape for _, label in drawn}) == 1:
        yield drawn[0][0], np.maximum.reduce([label for _, label in drawn])
    else:
        yield from drawn


def _thinned(facts: FileFacts) -> FileFacts:
    """Keep evenly spread pixels, so that many large images fit into memory."""
    if facts.pixels is None:
        return facts
    values = facts.pixels.reshape(-1)
    return replace(facts, pixels=values[:: values.size // SAMPLED_PIXELS | 1].astype(np.float64))


def _spread(pairs: Sequence[ImagePair], most: int) -> list[ImagePair]:
    return [pairs[index] for index in spread(len(pairs), most)]


def _unlabelled(pairing: Pairing) -> Iterator[str]:
    if not pairing.labelled:
        yield (
            "no image has a label: expected label maps in labels/ or masks/, or beside the images as 1_mask.png. Add "
            "some, say by templates where they lie, or name another folder as the support."
        )


def _faults(facts: Sequence[FileFacts]) -> Iterator[str]:
    faulty = [each for each in facts if each.fault]
    for each in faulty[:SHOWN]:
        yield f"{each.path} is unreadable: {each.fault.rstrip('.')}. Replace the file, or take it away."
    if len(faulty) > SHOWN:
        yield f"{len(faulty) - SHOWN} other files are unreadable too."


def _sizes_apart(images: Mapping[str, FileFacts], labels: Mapping[str, Sequence[FileFacts]]) -> Iterator[str]:
    """Yield labels of another size than their image, and a reason where one shows."""
    apart = [
        (images[name], label)
        for name, found in labels.items()
        for label in found
        if label.size_px and images[name].size_px and _sides(label.size_px) != _sides(images[name].size_px)
    ]
    for image, label in apart[:SHOWN]:
        expected, got = _sides(image.size_px), _sides(label.size_px)
        fix = "Is it the label of another image?"
        if image.orientation != label.orientation and got == expected[::-1]:
            fix = f"The orientation tag of {image.path.name} ({image.orientation}) turns it: save both upright."
        elif got == expected[::-1]:
            fix = "It lies on its side: turn it."
        elif len(got) == 2 and abs(got[0] * expected[1] / (got[1] * expected[0]) - 1) < SAME_SHAPE:
            fix = "Resize it by nearest neighbour."
        yield f"{label.path} does not match its image: expected {expected}, got {got}. {fix}"
    if len(apart) > SHOWN:
        yield f"{len(apart) - SHOWN} other labels do not match their images either."


def _fields_of_view(images: Mapping[str, FileFacts], labels: Mapping[str, Sequence[FileFacts]]) -> Iterator[str]:
    """Yield that most masks cover what is not black; pixels of both are spread alike."""
    looked = [(images[name].pixels, parts[0].pixels, name) for name, parts in labels.items() if len(parts) == 1]
    pairs = [(image, label, name) for image, label, name in looked if image is not None and label is not None]
    fields = [name for image, label, name in pairs if image.shape == label.shape and is_field_of_view(image, label > 0)]
    if 2 * len(fields) > len(pairs):
        yield f"{len(fields)} of {len(pairs)} labels, such as that of {fields[0]}, {COVER}"


def _sides(size_px: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for side in size_px if side > 1)


def _orientations(images: Sequence[FileFacts]) -> Iterator[str]:
    turned = [image for image in images if image.orientation != UPRIGHT]
    if turned:
        yield (
            f"{len(turned)} images have an orientation tag, such as {turned[0].path.name} ({turned[0].orientation}): "
            "programs differ in whether they turn them. Check that labels lie on the picture as you see it."
        )


def _image_sizes(sizes: Sequence[tuple[int, ...]]) -> Iterator[str]:
    longer = [max(size) for size in sizes]
    if longer and max(longer) > SIDES_APART * min(longer):
        yield (
            f"images differ in size: expected longer sides within {SIDES_APART:g} to 1, got {min(longer)} to "
            f"{max(longer)} pixels. Crop or resize them to show the same field of view."
        )


def _contrast(pairing: Pairing, images: Mapping[str, FileFacts]) -> Iterator[str]:
    """Yield images that show one grey value only, or differ in contrast from all labelled ones."""
    pixels = {name: facts.pixels for name, facts in images.items() if facts.pixels is not None}
    labelled = [pair.name for pair in pairing.labelled if pair.name in pixels]
    is_narrow = all((images[name].bits or 0) <= 8 for name in pixels)
    shared = np.concatenate([pixels[name] for name in labelled]) if labelled and not is_narrow else None
    quantiles = {name: _quantiles(values, shared) for name, values in pixels.items() if np.ptp(values) > 0}
    if blank := sorted(pixels.keys() - quantiles.keys()):
        yield f"{len(blank)} images show one grey value only, such as {blank[0]}. Leave blank images out."
    unlike = []
    for name, found in quantiles.items():
        others = np.array([quantiles[other] for other in labelled if other in quantiles and other != name])
        if len(others) and distances(found[None], others)[0] > most_apart(len(others)):
            unlike.append(name)
    if unlike:
        yield (
            f"{len(unlike)} of {len(quantiles)} images looked at differ from the labelled ones in contrast, such as "
            f"{', '.join(unlike[:SHOWN])}: another stain, sequence or window. Label one of their kind too."
        )


def _copies(pairing: Pairing, images: Mapping[str, FileFacts]) -> Iterator[str]:
    """Yield that labelled images hold one picture: what looks like an independent judge has the answer."""
    alike: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, pixels in ((pair.name, images[pair.name].pixels) for pair in pairing.labelled):
        if pixels is not None and np.ptp(pixels) > 0:
            alike[images[name].size_px, pixels.tobytes()].append(name)
    copies = [names for names in alike.values() if len(names) > 1]
    if copies:
        shown, count = ", ".join(copies[0][:SHOWN]), sum(len(names) - 1 for names in copies)
        yield (
            f"labelled images hold one picture, such as {shown}, {count} too many in all: they judge each other, and "
            "the Dice that is expected is too high. Keep one of each."
        )


def _quantiles(values: Float[np.ndarray, " pixels"], shared: Float[np.ndarray, " others"] | None) -> np.ndarray:
    """Quantiles of the values, scaled by their own range or by that of the labelled images."""
    low, high = (values.min(), values.max()) if shared is None else np.percentile(shared, CLIPPED)
    scaled = (values - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.quantile(scaled.clip(0, 1), QUANTILES)
