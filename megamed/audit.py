"""Whether a collection can be trusted: what leaks between splits, roles and datasets, and what is too thin to use."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from megamed.collection import Collection
from megamed.schema import DatasetCard, Frozen, Sample, Task
from megamed.splits import patient_groups
from megamed.vocabulary import Role, Split

HASH_SIDE_PX = 32
HASH_BITS = 64
NEAR_BITS = 8
"""Most hash bits in which near duplicates may differ: a mirrored file saved as JPEG of quality 30 differs in 4."""
DETAIL_SIDE_PX = 64
DETAIL_CLIP = 0.5
NEAR_SIMILARITY = 0.8
"""Least likeness of the details of near duplicates: 0.95 after JPEG of quality 30; other eyes reach 0.77."""
LEAST_CONTRAST = 4.0
"""Standard deviation, of 255 grey levels, below which an image shows nothing."""
ENOUGH_SUBJECTS = 5
ROWS_AT_ONCE = 512


class ImageReference(Frozen):
    """Reference to an image of a collection, by which reports name it."""

    dataset: str
    role: Role
    view: str
    subject: str
    case: str
    split: Split

    def __str__(self) -> str:
        return f"{self.case} (subject {self.subject}, {self.split})"


class Duplicate(Frozen):
    """Two images that are the same or nearly so, though they are said to show different subjects."""

    first: ImageReference
    second: ImageReference
    similarity: float
    """Similarity of the two: 1 for equal pixels; below, the cosine similarity of their details."""

    @property
    def reach(self) -> str:
        """Widest border that the duplicate crosses: `datasets`, else `splits`, else only `subjects`."""
        if self.first.dataset != self.second.dataset:
            return "datasets"
        return "splits" if self.first.split != self.second.split else "subjects"


class AuditReport(Frozen):
    """Findings of an audit; all but the licences are empty if nothing is wrong."""

    images: int
    duplicates: tuple[Duplicate, ...]
    crossing: tuple[str, ...]
    """Subjects in two splits, or in datasets of two roles."""
    licences: dict[str, tuple[str, ...]]
    """Datasets by licence; the empty licence stands for one that is unknown."""
    scarce: dict[str, int]
    """Number of subjects of each task that has too few."""
    flat: tuple[ImageReference, ...]
    """Images without contrast."""

    @property
    def leaks(self) -> bool:
        """Whether a score on this collection may be better than it should be."""
        return bool(self.duplicates or self.crossing)

    def lines(self) -> list[str]:
        """Say it in words: leaks first, then thin data, then the licences."""
        pairs = "pair" if len(self.duplicates) == 1 else "pairs"
        found = [f"{self.images} images: {len(self.duplicates)} {pairs} of duplicates of different subjects."]
        found += (f"leak: {words}" for words in (*_duplicate_lines(self.duplicates), *self.crossing))
        found += (f"few subjects: {words}" for words in _scarce_lines(self.scarce))
        found += (f"no contrast: {place.dataset}/{place.view}, {place}" for place in self.flat)
        found += (f"licence {text or 'unknown'}: {', '.join(names)}" for text, names in self.licences.items())
        return found


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored image and what is known of it."""

    task: Task
    sample: Sample
    place: ImageReference
    person: tuple[str, str]
    """Patient group and subject: equal for the same human being in several datasets."""
    content: str
    contrast: float


def audit(path: str | Path, enough_subjects: int = ENOUGH_SUBJECTS) -> AuditReport:
    """Read every image of a collection once and report what should not be so.

    Duplicates are looked for between different subjects only: slices of one subject are alike, and stay together.

    Args:
        path: The collection.
        enough_subjects: Tasks with fewer subjects are reported.
    """
    with Collection(path) as collection:
        cards = [collection.card(name) for name in collection.datasets]
        images, hashes = _scan(collection, cards)
        near = _near_duplicates(collection, images, hashes)
        duplicates = sorted([*_exact_duplicates(images), *near], key=lambda pair: (str(pair.first), str(pair.second)))
        subjects = {
            task.id: len({sample.subject for sample in collection.samples(task)}) for task in collection.tasks()
        }
    return AuditReport(
        images=len(images),
        duplicates=tuple(duplicates),
        crossing=tuple(_crossing(images)),
        licences=_licences(cards),
        scarce={task: count for task, count in subjects.items() if count < enough_subjects},
        flat=tuple(image.place for image in images if image.contrast < LEAST_CONTRAST),
    )


def each_image(collection: Collection, tasks: Iterable[Task]) -> Iterator[tuple[Task, Sample]]:
    """Yield every image of some tasks once, with the first of the tasks that it is a sample of."""
    seen: set[tuple[str, str, int]] = set()
    for task in tasks:
        for sample in collection.samples(task):
            image = task.dataset, task.view, sample.row
            if image not in seen:
                seen.add(image)
                yield task, sample


def content_hash(image: UInt8[np.ndarray, "H W"]) -> str:
    """Name the pixels of a stored image: equal names, equal pixels."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()


def perceptual_hash(image: UInt8[np.ndarray, "H W"]) -> Bool[np.ndarray, "64"]:
    """Describe the coarse look of an image in bits that brightness, noise and compression hardly change.

    The bits say which of the lowest frequencies of the cosine transform lie above their median.

    Source:
        Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010.
    """
    coarse = np.asarray(Image.fromarray(image).resize((HASH_SIDE_PX, HASH_SIDE_PX), Image.Resampling.BOX), np.float32)
    side = np.arange(HASH_SIDE_PX)
    waves = np.cos(np.pi * (side[:9, None] * (2 * side + 1)) / (2 * HASH_SIDE_PX))
    frequencies = (waves @ coarse @ waves.T).ravel()[1 : HASH_BITS + 1]  # without the mean
    return frequencies > np.median(frequencies)


def detail(image: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "4096"]:
    """Describe the fine structure of an image as a unit vector; the product of two is their likeness.

    Strong edges are clipped: all fundus photographs share the rim of the camera, and all scans that of the field.
    """
    sharp = Image.fromarray(image.astype(np.float32)).resize((DETAIL_SIDE_PX,) * 2, Image.Resampling.BOX)
    blurred = sharp.resize((DETAIL_SIDE_PX // 4,) * 2, Image.Resampling.BOX)
    fine = np.asarray(sharp) - np.asarray(blurred.resize(sharp.size, Image.Resampling.BILINEAR))
    limit = DETAIL_CLIP * np.abs(fine).mean()
    clipped = fine.clip(-limit, limit).ravel()
    return clipped / max(float(np.linalg.norm(clipped)), 1e-6)


def _scan(collection: Collection, cards: list[DatasetCard]) -> tuple[list[_Stored], Bool[np.ndarray, "N 64"]]:
    """Read every image that is a sample of some task, once."""
    groups = patient_groups(cards)
    images, hashes = [], []
    for task, sample in each_image(collection, collection.tasks()):
        pixels, card = collection.image(task, sample.row), collection.card(task.dataset)
        place = ImageReference(
            dataset=card.id,
            role=card.role,
            view=task.view,
            subject=sample.subject,
            case=sample.case,
            split=sample.split,
        )
        person = groups[card.id], sample.subject
        images.append(_Stored(task, sample, place, person, content_hash(pixels), float(pixels.std())))
        hashes.append(perceptual_hash(pixels))
    return images, np.array(hashes, dtype=bool).reshape(-1, HASH_BITS)


def _exact_duplicates(images: Iterable[_Stored]) -> Iterator[Duplicate]:
    """Pair the first image of each content with the equal ones of other people."""
    first: dict[str, _Stored] = {}
    for image in images:
        known = first.setdefault(image.content, image)
        if known.person != image.person:
            yield Duplicate(first=known.place, second=image.place, similarity=1.0)


def _near_duplicates(
    collection: Collection, images: list[_Stored], hashes: Bool[np.ndarray, "N 64"]
) -> Iterator[Duplicate]:
    """Pair different images of different people whose hashes are close and whose details agree."""

    @lru_cache(maxsize=4096)
    def details(index: int) -> np.ndarray:
        return detail(collection.image(images[index].task, images[index].sample.row))

    for one, two in _close(hashes):
        first, second = images[one], images[two]
        if first.person == second.person or first.content == second.content:
            continue
        similarity = float(details(one) @ details(two))
        if similarity >= NEAR_SIMILARITY:
            yield Duplicate(first=first.place, second=second.place, similarity=round(similarity, 3))


def _close(hashes: Bool[np.ndarray, "N 64"]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of hashes that differ in few bits; the product of ±1 codes counts the differences."""
    codes = np.where(hashes, np.float32(1), np.float32(-1))
    for start in range(0, len(codes), ROWS_AT_ONCE):
        agreement = codes[start : start + ROWS_AT_ONCE] @ codes[start:].T
        ones, twos = np.nonzero(agreement >= HASH_BITS - 2 * NEAR_BITS)
        for one, two in zip(ones.tolist(), twos.tolist(), strict=True):
            if one < two:
                yield start + one, start + two


def _crossing(images: Iterable[_Stored]) -> Iterator[str]:
    """Yield people who are in several splits, or both in data to train on and in data to be tested with."""
    found: dict[tuple[str, str], dict[str, ImageReference]] = defaultdict(dict)
    for image in images:
        place = image.place
        use = place.split if place.role in ("train", "auxiliary") else f"{place.role}, {place.split}"
        found[image.person].setdefault(use, place)
    for (_, subject), uses in sorted(found.items()):
        if len(uses) > 1:
            places = (f"{place.dataset} ({use})" for use, place in sorted(uses.items()))
            yield f"subject {subject} is in {' and '.join(places)}"


def _licences(cards: Iterable[DatasetCard]) -> dict[str, tuple[str, ...]]:
    """Sort the datasets by their licence."""
    found: dict[str, list[str]] = defaultdict(list)
    for card in cards:
        found[card.license or ""].append(card.id)
    return {text: tuple(names) for text, names in sorted(found.items())}


def _scarce_lines(scarce: dict[str, int]) -> Iterator[str]:
    """Sum up the tasks with too few subjects by dataset."""
    by_dataset: dict[str, Counter[int]] = defaultdict(Counter)
    for task, subjects in scarce.items():
        by_dataset[task.split("/")[0]][subjects] += 1
    for dataset, counts in by_dataset.items():
        labels = (f"{n} {'label' if n == 1 else 'labels'} with {subjects}" for subjects, n in sorted(counts.items()))
        yield f"{dataset}: {', '.join(labels)}"


def _duplicate_lines(duplicates: Iterable[Duplicate]) -> Iterator[str]:
    """Sum up duplicates by the datasets they join, with the likest pair as example."""
    found: dict[tuple[str, str, str, Literal["equal", "nearly equal"]], list[Duplicate]] = defaultdict(list)
    for pair in duplicates:
        how: Literal["equal", "nearly equal"] = "equal" if pair.similarity == 1 else "nearly equal"
        found[pair.first.dataset, pair.second.dataset, pair.reach, how].append(pair)
    for (one, two, reach, how), pairs in sorted(found.items()):
        where = one if one == two else f"{one} and {two}"
        likest = max(pairs, key=lambda pair: pair.similarity)
        yield f"{where}: {len(pairs)} {how} across {reach}, as {likest.first} and {likest.second}"
