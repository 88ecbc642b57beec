"""Volumes and sequences: from a few labelled planes outward, each plane read beside those segmented before it.

Planes at equal distance from a labelled one form a wave. A wave is segmented with the nearest labelled planes and the
predictions just before it as support. Its logits are pulled towards the shape that the labels have between them, as far
as this shape has agreed with what the network found so far; then its predictions join the support of the next wave.
At the end every plane listens to its neighbours.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from incontext.inference.selection import image_features, nearest
from incontext.networks.distance import distance_transform
from incontext.networks.measures import dice
from incontext.networks.protocols import Backend, Codes, FeatureEncoder

CERTAIN = 20.0
"""Logit of what a person labelled as foreground; of background its negative."""
DEPTH = 0.16
"""Distance from a structure's edge, as a share of a plane's side, from which on it pulls no harder."""
AGREEMENT = (0.6, 0.8)
"""Dice with the network's masks from which on interpolated shapes count, and from which on in full."""
ALIKE = 0.5
"""Dice of neighbouring masks from which on they listen to each other."""
HEARD = 4.0
"""Logit beyond which certainty impresses no neighbour further."""
DOUBT = 0.001
"""Share of a plane that may be foreground without making a prediction much less sure."""


@dataclass(frozen=True)
class Propagation:
    """How labels travel from plane to plane; the defaults were chosen on volumes like those of the training."""

    nearest: int = 16
    """Labelled planes in a support, at most: the nearest of the same volume, and as many that look alike of others."""
    reach: int = 1
    """Planes away from which a prediction joins a support; 0 segments every plane by labels alone."""
    confidence: float = 0.7
    """Least `confidence` of a prediction that joins."""
    continuity: float = 64.0
    """Pull towards the interpolated shape: logits per distance from its edge, in sides of a plane; 0 for frames between
    which things move."""
    step: float = 0.01
    """Distance of neighbouring planes, in sides of a plane: with each plane beyond the labels a shape recedes by it."""
    neighbours: float = 0.3
    """Weight of the planes before and after in the final mean of logits, beside 1 for the plane itself; 0 for none."""
    seeds: int = 3
    """Planes to start from if none is labelled: those of which the network is surest, spread over the structure."""
    batch_size: int = 8
    """Planes that the network sees at a time."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 1 if name in ("nearest", "seeds", "batch_size") else 0
            if not value >= least:
                msg = f"{name} is too small: expected at least {least}, got {value}."
                raise ValueError(msg)


@dataclass(frozen=True)
class LabelledPlanes:
    """What other volumes teach: planes in [0, 1] and their labels in {0, 1}."""

    images: Float[Tensor, "S 1 H W"]
    labels: Float[Tensor, "S 1 H W"]


@torch.inference_mode()
def propagate(
    network: Backend,
    planes: Float[Tensor, "N 1 H W"],
    labels: Mapping[int, Float[Tensor, "1 _ _"]],
    others: LabelledPlanes | None = None,
    config: Propagation | None = None,
) -> Float[Tensor, "N 1 H W"]:
    """Segment all planes of a volume or a sequence by the labels of a few.

    What is held beside planes and logits grows with the labelled planes, not with N.

    Args:
        network: Reads labelled planes and segments others.
        planes: In their order along the axis, in [0, 1].
        labels: By place in `planes`, in {0, 1}; may be empty if there are `others`.
        others: Labelled planes of other volumes.
        config: How labels travel.

    Returns:
        Logits; those of labelled planes are certain of the label.

    Raises:
        ValueError: If nothing is labelled, or a label or what is learned from does not fit the planes.
    """
    config = config or Propagation()
    _check(planes, labels, others)
    support = _Support(network, planes, others, config)
    if labels:
        return _outward(support, labels)
    found = support.segment(range(len(planes)))
    seeds = _seeds(found, config.seeds)
    if not seeds:
        return found
    logits = _outward(support, {place: (found[place] > 0).float() for place in seeds})
    logits[seeds] = found[seeds]
    return logits


def confidence(logits: Float[Tensor, "N 1 H W"]) -> Float[Tensor, " N"]:
    """How sure a network is of each mask, in [0, 1]: the Dice that the mask has with its own probabilities.

    A mask that is empty is sure if hardly any foreground was to be expected.
    """
    probabilities, masks = logits.sigmoid().flatten(1), (logits > 0).flatten(1)
    doubt = DOUBT * masks.shape[1]
    both = (probabilities * masks).sum(1)
    return (2 * both + doubt) / (probabilities.sum(1) + masks.sum(1) + doubt)


def signed_distance(label: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"]:
    """Distance from a structure's edge in sides of the plane, within ±`DEPTH`: above 0 inside, below 0 outside."""
    inside = label[0] > 0.5
    pixels = torch.where(inside, _distances(~inside) - 0.5, 0.5 - _distances(inside))
    return (pixels / max(inside.shape)).clamp(-DEPTH, DEPTH)[None]


def interpolated(
    labels: Mapping[int, Float[Tensor, "1 H W"]], count: int, step: float
) -> Float[Tensor, "{count} 1 H W"]:
    """What labels make of all planes without an image: signed distances, which are above 0 in the structure.

    Args:
        labels: By place, in {0, 1}; at least one.
        count: Of planes.
        step: See `Propagation`.
    """
    shape = _Shape(labels, Propagation(step=step))
    return torch.stack([shape.depth(place) for place in range(count)])


def waves(count: int, start: Sequence[int]) -> Iterator[list[int]]:
    """The other places of a row in the order of their distance from the nearest start, those equally far together."""
    by_distance = defaultdict(list)
    for place in range(count):
        by_distance[min(abs(place - each) for each in start)].append(place)
    yield from (by_distance[distance] for distance in sorted(by_distance) if distance)


def _outward(support: "_Support", labels: Mapping[int, Tensor]) -> Tensor:
    config, logits = support.config, torch.empty_like(support.planes)
    for place, label in labels.items():
        logits[place] = CERTAIN * (2 * label - 1)
    support.learn(labels)
    shape = _Shape(labels, config)
    for wave in waves(len(logits), list(labels)):
        logits[wave] = shape.pulled(wave, support.segment(wave))
        support.join(wave, logits)
    _settle(logits, config.neighbours, labels)
    return logits


class _Support:
    """What is known of a volume so far, as one code for every plane that may be in a support.

    Codes go by the plane's place; those of planes of other volumes by -1, -2, …
    """

    def __init__(self, network: Backend, planes: Tensor, others: LabelledPlanes | None, config: Propagation) -> None:
        self.network = network
        self.planes = planes
        self.others = others
        self.config = config
        self.labelled: list[int] = []
        self.waves: deque[list[int]] = deque()
        self.codes: dict[int, Codes] = {}
        if others is not None:
            self._read([-1 - place for place in range(len(others.images))], others.images, others.labels)
            if len(others.images) > config.nearest:
                self.looks = self._looks(others.images)

    def learn(self, labels: Mapping[int, Tensor]) -> None:
        """Read labelled planes."""
        self.labelled = sorted(labels)
        self._read(self.labelled, self.planes[self.labelled], torch.stack([labels[each] for each in self.labelled]))

    def join(self, wave: list[int], logits: Tensor) -> None:
        """Read the sure predictions of a wave, and forget the wave that is now out of reach."""
        if not self.config.reach:
            return
        sure = [place for place in wave if confidence(logits[[place]]) >= self.config.confidence]
        self._read(sure, self.planes[sure], (logits[sure] > 0).float())
        self.waves.append(sure)
        if len(self.waves) > self.config.reach:
            for place in self.waves.popleft():
                del self.codes[place]

    def segment(self, places: Sequence[int]) -> Float[Tensor, "n 1 H W"]:
        """Logits of planes, a batch at a time."""
        size = self.config.batch_size
        return torch.cat([self._batch(places[start : start + size]) for start in range(0, len(places), size)])

    def _batch(self, places: Sequence[int]) -> Tensor:
        supports = self._supports(places)
        logits = self.planes.new_empty(len(places), *self.planes.shape[1:])
        for size in {len(support) for support in supports}:
            rows = [row for row, support in enumerate(supports) if len(support) == size]
            logits[rows] = self._answers([places[row] for row in rows], [supports[row] for row in rows])
        return logits

    def _answers(self, places: list[int], supports: list[list[int]]) -> Tensor:
        """Logits of planes whose supports are equally large."""
        known = sorted(set().union(*supports))
        chosen = torch.tensor([[known.index(each) for each in support] for support in supports])
        parts = [self.codes[each] for each in known]
        return self.network.segment(self.planes[places], type(parts[0]).joined(parts).select(chosen).pooled())

    def _supports(self, places: Sequence[int]) -> list[list[int]]:
        """For each plane the nearest labelled ones, the predictions within reach, and of the others the most alike."""
        supports = self._alike(places)
        for place, support in zip(places, supports, strict=True):
            support += sorted(self.labelled, key=lambda each: abs(each - place))[: self.config.nearest]
            support += [each for wave in self.waves for each in wave if abs(each - place) <= self.config.reach]
        return supports

    def _alike(self, places: Sequence[int]) -> list[list[int]]:
        count = 0 if self.others is None else len(self.others.images)
        if count <= self.config.nearest:
            return [[-1 - each for each in range(count)] for _ in places]
        chosen = nearest(self._looks(self.planes[list(places)]), self.looks, self.config.nearest)
        return [[-1 - each for each in row] for row in chosen.tolist()]

    def _looks(self, images: Tensor) -> Float[Tensor, "n C"]:
        if not isinstance(self.network, FeatureEncoder):
            msg = (
                f"others are too many for a network that cannot tell which look alike: expected at most "
                f"{self.config.nearest} planes, got {len(images)}. Pass fewer, or use the packaged weights."
            )
            raise ValueError(msg)
        return torch.cat([image_features(self.network, batch) for batch in images.split(self.config.batch_size)])

    def _read(self, places: Sequence[int], images: Tensor, labels: Tensor) -> None:
        for start in range(0, len(places), self.config.batch_size):
            batch = slice(start, start + self.config.batch_size)
            codes = self.network.encode_images(images[batch], labels[batch])
            self.codes |= {place: codes.select(torch.tensor([[k]])) for k, place in enumerate(places[batch])}


class _Shape:
    """The structure between labelled planes: the mean of their signed distances, weighted by how near they are.

    Beyond the outermost it recedes from plane to plane, until nothing is left.
    """

    def __init__(self, labels: Mapping[int, Tensor], config: Propagation) -> None:
        self.config = config
        self.places = sorted(labels)
        self.depths = {place: signed_distance(labels[place]) for place in self.places} if config.continuity else {}
        self.common = self.drawn = 0.0

    def pulled(self, wave: list[int], logits: Float[Tensor, "n 1 H W"]) -> Float[Tensor, "n 1 H W"]:
        """Logits of a wave, pulled towards the shape as far as it has agreed with those so far."""
        if not self.depths:
            return logits
        depths = torch.stack([self.depth(place) for place in wave])
        known = [row for row, place in enumerate(wave) if self._is_known(place)]
        found, expected = logits[known] > 0, depths[known] > 0
        self.common += 2 * float((found & expected).sum())
        self.drawn += float(found.sum() + expected.sum())
        low, high = AGREEMENT
        strength = min(1.0, max(0.0, (self.common / max(self.drawn, 1.0) - low) / (high - low)))
        return logits + strength * self.config.continuity * depths

    def depth(self, place: int) -> Float[Tensor, "1 H W"]:
        """Signed distance from the structure's edge on a plane."""
        after = bisect_left(self.places, place)
        if 0 < after < len(self.places):
            first, last = self.places[after - 1 : after + 1]
            share = (place - first) / (last - first)
            return (1 - share) * self.depths[first] + share * self.depths[last]
        end = self.places[max(after - 1, 0)]
        return (self.depths[end] - self.config.step * abs(place - end)).clamp(min=-DEPTH)

    def _is_known(self, place: int) -> bool:
        """Whether a plane is between labelled ones or next to one."""
        return self.places[0] - 1 <= place <= self.places[-1] + 1


def _settle(logits: Float[Tensor, "N 1 H W"], weight: float, labels: Mapping[int, Tensor]) -> None:
    """Let each plane without a label listen to those before and after, the more the more their masks are alike.

    In place. A plane's own certainty counts in full, that of a neighbour up to `HEARD`.
    """
    likeness = [_likeness(one > 0, next_one > 0) for one, next_one in pairwise(logits)]
    weights = [0.0, *(weight * max(0.0, (each - ALIKE) / (1 - ALIKE)) for each in likeness), 0.0]
    before = torch.zeros_like(logits[0])
    for place, own in enumerate(logits):
        said = own.clamp(-HEARD, HEARD)
        if place not in labels:
            after = logits[min(place + 1, len(logits) - 1)].clamp(-HEARD, HEARD)
            first, last = weights[place : place + 2]
            logits[place] += (said + first * before + last * after) / (1 + first + last) - said
        before = said


def _seeds(logits: Float[Tensor, "N 1 H W"], count: int) -> list[int]:
    """The surest plane of each part, of planes that show something, divided into as many parts as seeds are wanted."""
    sure = confidence(logits)
    showing = [place for place, each in enumerate(logits) if (each > 0).any()]
    parts = [showing[len(showing) * k // count : len(showing) * (k + 1) // count] for k in range(count)]
    return [max(part, key=lambda place: float(sure[place])) for part in parts if part]


def _distances(targets: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Pixels from each pixel to the nearest target (Euclid), or a plane's height and width if there is none."""
    return distance_transform(targets[None])[0].clamp(max=sum(targets.shape))


def _likeness(mask: Bool[Tensor, "1 H W"], other: Bool[Tensor, "1 H W"]) -> float:
    """Dice of two planes' masks; two empty ones say nothing of each other and count as unlike."""
    return dice(mask, other).item() if mask.any() else 0.0


def _check(planes: Tensor, labels: Mapping[int, Tensor], others: LabelledPlanes | None) -> None:
    if not labels and others is None:
        msg = "labels are missing: expected at least one labelled plane, got none. Label a plane or pass `others`."
        raise ValueError(msg)
    for place, label in labels.items():
        if not 0 <= place < len(planes):
            msg = f"labels name no plane: expected places from 0 to {len(planes) - 1}, got {place}. Correct the place."
            raise ValueError(msg)
        _check_size(f"labels[{place}]", label, planes)
    if others is not None:
        _check_size("others.images", others.images[0], planes)
        _check_size("others.labels", others.labels[0], planes)


def _check_size(name: str, plane: Tensor, planes: Tensor) -> None:
    if plane.shape != planes.shape[1:]:
        expected, got = tuple(planes.shape[1:]), tuple(plane.shape)
        msg = f"{name} does not fit the planes: expected {expected}, got {got}. Bring all to one grid."
        raise ValueError(msg)
