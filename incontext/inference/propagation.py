"""Propagation of labels through volumes and sequences, outward from a few labelled planes.

Planes at equal distance from a labelled one form a wave. A wave is segmented with the nearest labelled planes and the
predictions just before it as support. Its logits are pulled towards the shape that the labels have between them, as far
as this shape has agreed with what the network found so far; or, in a film, towards the nearest label, as far as a frame
looks like the one that was labelled. Then its predictions join the support of the next wave. Several structures travel
side by side: what joins is where each is more probable than all others together, so that none grows into its neighbours
from plane to plane. At the end the logits of every plane are averaged with those of its neighbours.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from incontext.inference.backends import finite
from incontext.inference.planes import CERTAIN
from incontext.inference.selection import image_features, nearest
from incontext.inference.signed_distance import DEPTH, signed_distance
from incontext.networks.measures import dice
from incontext.networks.protocols import Backend, Codes, FeatureEncoder
from megamed.unknown import UNKNOWN_SHARE

SINGLE = 0.6
"""Share of `Propagation.step` by which a shape recedes if a single plane is labelled: that is seldom near its end."""
AGREEMENT = (0.6, 0.8)
"""Dice with the network's masks from which on interpolated shapes count, and from which on in full."""
LEAST_DICE = 0.5
"""Dice of neighbouring masks above which their logits are averaged."""
BOUND = 4.0
"""Bound of a plane's logits, either way, in the mean with those of its neighbours."""
LIKENESS = (0.6, 0.9)
"""Correlation of a frame with the nearest labelled one from which on its label counts, and from which on in full."""
SLACK = 0.001
"""Share of a plane that may be foreground without much effect on the confidence of a prediction."""


@dataclass(frozen=True)
class Propagation:
    """Parameters of propagation; the defaults were chosen on volumes of the kinds that the network was trained on."""

    nearest: int = 16
    """Most labelled planes in a support: the nearest of the same volume, and as many of others, nearest in features."""
    reach: int = 1
    """Largest distance, in planes, of a prediction that joins a support; 0 segments every plane by labels alone."""
    confidence: float = 0.7
    """Least `confidence` of a prediction that joins a support, in [0, 1]."""
    continuity: float = 64.0
    """Pull towards the interpolated shape: logits per distance from its edge, in sides of a plane; 0 for frames between
    which things move."""
    step: float = 0.01
    """Distance of neighbouring planes, in sides of a plane: with each plane beyond the labels a shape recedes by it, or
    by `SINGLE` of it from a single one."""
    stillness: float = 0.0
    """Pull of a frame that looks like the nearest labelled one towards the label of that: logits per distance from its
    edge, in sides of a plane; 0 for volumes."""
    neighbours: float = 0.3
    """Weight of the planes before and after in the final mean of logits, beside 1 for the plane itself; 0 for none."""
    margin: float = 0.5
    """Width of what is seen around the labelled structures of a volume on each side, in their longer extents; 0 to see
    planes whole."""
    seeds: int = 3
    """Number of planes to start from if none is labelled: the most confident ones, spread over the structure."""
    batch_size: int = 8
    """Number of planes that the network computes at a time."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 1 if name in ("nearest", "seeds", "batch_size") else 0
            if not value >= least:
                msg = f"{name} is too small: expected at least {least}, got {value}."
                raise ValueError(msg)


@dataclass(frozen=True)
class LabelledPlanes:
    """Labelled planes of other volumes: images in [0, 1] and labels in {0, 1}."""

    images: Float[Tensor, "S 1 H W"]
    labels: Float[Tensor, "S 1 H W"]


@dataclass(frozen=True)
class LabelledStructure:
    """One structure to segment: its labels on planes of the volume itself, and on planes of other volumes."""

    labels: Mapping[int, Float[Tensor, "1 _ _"]]
    """Labels in {0, 1}, or `UNKNOWN_SHARE` where nobody judged, by the index of their plane; may be empty if there are
    `others`."""
    others: LabelledPlanes | None = None


def propagate(
    network: Backend,
    planes: Float[Tensor, "N 1 H W"],
    labels: Mapping[int, Float[Tensor, "1 _ _"]],
    others: LabelledPlanes | None = None,
    config: Propagation | None = None,
) -> Float[Tensor, "N 1 H W"]:
    """Segment all planes of a volume or a sequence by the labels of a few, for one structure: see `propagate_all`."""
    return propagate_all(network, planes, [LabelledStructure(labels, others)], config)


@torch.inference_mode()
def propagate_all(
    network: Backend,
    planes: Float[Tensor, "N 1 H W"],
    structures: Sequence[LabelledStructure],
    config: Propagation | None = None,
    overlap: bool = False,
    told: Callable[[int], object] = int,
) -> Float[Tensor, "N C H W"]:
    """Segment all planes of a volume or a sequence by the labels of a few.

    Memory beside planes and logits grows with the labelled planes, not with N.

    Args:
        network: Backend that encodes labelled planes and segments others.
        planes: Planes in their order along the axis, in [0, 1].
        structures: The structures to segment; those that are labelled in `planes` are so on the same ones.
        config: Parameters of the propagation; by default those of `Propagation`.
        overlap: Whether a pixel may be of several structures.
        told: Function that is told of each number of planes when they are done.

    Returns:
        Logits of each structure against the background, on all planes; on labelled ones they are ±`CERTAIN`, by the
        label, where somebody judged.

    Raises:
        ValueError: If nothing is labelled, or a label or an image of `others` does not fit the planes.
        FloatingPointError: If the network's logits are not finite.
    """
    config, logits = config or Propagation(), planes.new_empty(len(planes), len(structures), *planes.shape[2:])
    for each in structures:
        _check(planes, each.labels, each.others)
    supports = [_Support(network, planes, each.others, config) for each in structures]
    together = [index for index, each in enumerate(structures) if each.labels]
    if together:
        labels = [structures[index].labels for index in together]
        logits[:, together] = _outward([supports[index] for index in together], labels, overlap, told)
    for index, each in enumerate(structures):
        if not each.labels:
            logits[:, index : index + 1] = _from_others(supports[index])
    return logits


def against_others(logits: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Log-odds of each structure against the background and all other structures, from those against the former alone.

    >>> against_others(torch.tensor([[[[0.0]], [[0.0]]]])).exp().flatten().tolist()
    [0.5, 0.5]
    """
    if logits.shape[1] == 1:
        return logits
    all_but = [
        torch.cat([torch.zeros_like(logits[:, :1]), logits[:, :k], logits[:, k + 1 :]], 1)
        for k in range(logits.shape[1])
    ]
    return logits - torch.stack([each.logsumexp(1) for each in all_but], 1)


def _from_others(support: "_Support") -> Tensor:
    """Logits (N, 1, H, W) of a structure that is labelled in other volumes alone, outward from the surest planes."""
    config = support.config
    found = support.segment(range(len(support.planes)))
    seeds = _seeds(found, config.seeds)
    if not seeds:
        return found
    logits = _outward([support], [{index: (found[index] > 0).float() for index in seeds}])
    logits[seeds] = found[seeds]
    return logits


def confidence(logits: Float[Tensor, "N 1 H W"]) -> Float[Tensor, " N"]:
    """Confidence of each mask, in [0, 1]: its Dice with the probabilities that it comes from.

    An empty mask is confident if the probabilities sum to hardly any foreground.
    """
    probabilities, masks = logits.sigmoid().flatten(1), (logits > 0).flatten(1)
    slack = SLACK * masks.shape[1]
    both = (probabilities * masks).sum(1)
    return (2 * both + slack) / (probabilities.sum(1) + masks.sum(1) + slack)


def interpolated(
    labels: Mapping[int, Float[Tensor, "1 H W"]], count: int, step: float
) -> Float[Tensor, "{count} 1 H W"]:
    """Interpolate labels to all planes, without any image, as signed distances: above 0 in the structure.

    Args:
        labels: Labels in {0, 1} by the index of their plane; at least one.
        count: Number of planes.
        step: Distance of neighbouring planes, in sides of a plane; see `Propagation.step`.
    """
    shape = _Shape(labels, Propagation(step=step))
    return torch.stack([shape.depth(index) for index in range(count)])


def waves(count: int, start: Sequence[int]) -> Iterator[list[int]]:
    """Indices below a count, grouped by their distance from the nearest start, the starts left out."""
    by_distance = defaultdict(list)
    for index in range(count):
        by_distance[min(abs(index - each) for each in start)].append(index)
    yield from (by_distance[distance] for distance in sorted(by_distance) if distance)


def _outward(
    supports: Sequence["_Support"],
    labels: Sequence[Mapping[int, Tensor]],
    overlap: bool = False,
    told: Callable[[int], object] = int,
) -> Tensor:
    """Logits (N, C, H, W) of structures that are labelled on the same planes, whose waves go out together."""
    config, planes = supports[0].config, supports[0].planes
    logits = torch.cat([_drawn(support, known) for support, known in zip(supports, labels, strict=True)], 1)
    shapes = [_Shape(known, config) for known in labels]
    for wave in waves(len(planes), list(labels[0])):
        alike = _likeness(planes, wave, list(labels[0])) if config.stillness else None
        for index, (support, shape) in enumerate(zip(supports, shapes, strict=True)):
            pulled = shape.pulled(wave, support.segment(wave))
            logits[wave, index] = (pulled if alike is None else shape.held(wave, pulled, alike))[:, 0]
        found = logits[wave] if overlap else against_others(logits[wave])
        for index, support in enumerate(supports):
            support.join(wave, found[:, index : index + 1])
        told(len(wave))
    for index, known in enumerate(labels):
        _settle(logits[:, index : index + 1], config.neighbours, known)
    return logits


def _likeness(planes: Tensor, wave: Sequence[int], labelled: Sequence[int]) -> Float[Tensor, "n 1 1 1"]:
    """Share, in [0, 1], in which each plane of a wave counts as still: by its correlation with the nearest labelled."""
    known = [_nearest(labelled, index) for index in wave]
    one, other = (planes[rows].flatten(1) for rows in (wave, known))
    alike = F.cosine_similarity(one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True))
    low, high = LIKENESS
    return ((alike - low) / (high - low)).clamp(0, 1)[:, None, None, None]


def _nearest(labelled: Sequence[int], index: int) -> int:
    return min(labelled, key=lambda each: (abs(each - index), each))


def _drawn(support: "_Support", labels: Mapping[int, Tensor]) -> Tensor:
    """Let a support learn labelled planes, and return their logits (N, 1, H, W); those of others are yet to come."""
    logits = torch.empty_like(support.planes)
    for index, label in labels.items():
        logits[index] = CERTAIN * (2 * label - 1)
    support.learn(labels)
    unjudged = {index: where for index, label in labels.items() if (where := label == UNKNOWN_SHARE).any()}
    if unjudged:
        for index, found in zip(unjudged, support.segment(list(unjudged)), strict=True):
            logits[index] = torch.where(unjudged[index], found, logits[index])
    return logits


class _Support:
    """The support pool of a propagation: one code for every plane that may be in a support so far.

    Codes are keyed by the index of their plane; planes of other volumes have the keys -1, -2, …
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
            self._encode([-1 - index for index in range(len(others.images))], others.images, others.labels)
            if len(others.images) > config.nearest:
                self.features = self._features(others.images)

    def learn(self, labels: Mapping[int, Tensor]) -> None:
        """Encode labelled planes for all supports that follow."""
        self.labelled = sorted(labels)
        self._encode(self.labelled, self.planes[self.labelled], torch.stack([labels[each] for each in self.labelled]))

    def join(self, wave: list[int], logits: Float[Tensor, "n 1 H W"]) -> None:
        """Encode the confident predictions of a wave, and drop the wave that is now out of reach."""
        if not self.config.reach:
            return
        sure = [row for row in range(len(wave)) if confidence(logits[[row]]) >= self.config.confidence]
        confident = [wave[row] for row in sure]
        self._encode(confident, self.planes[confident], (logits[sure] > 0).float())
        self.waves.append(confident)
        if len(self.waves) > self.config.reach:
            for index in self.waves.popleft():
                del self.codes[index]

    def segment(self, indices: Sequence[int]) -> Float[Tensor, "n 1 H W"]:
        """Logits of planes, a batch at a time."""
        size = self.config.batch_size
        return torch.cat([self._batch(indices[start : start + size]) for start in range(0, len(indices), size)])

    def _batch(self, indices: Sequence[int]) -> Tensor:
        supports = self._supports(indices)
        logits = self.planes.new_empty(len(indices), *self.planes.shape[1:])
        for size in {len(support) for support in supports}:
            rows = [row for row, support in enumerate(supports) if len(support) == size]
            logits[rows] = self._segmented([indices[row] for row in rows], [supports[row] for row in rows])
        return logits

    def _segmented(self, indices: list[int], supports: list[list[int]]) -> Tensor:
        """Logits of planes whose supports are equally large."""
        known = sorted(set().union(*supports))
        chosen = torch.tensor([[known.index(each) for each in support] for support in supports])
        parts = [self.codes[each] for each in known]
        return finite(self.network.segment(self.planes[indices], type(parts[0]).joined(parts).select(chosen).pooled()))

    def _supports(self, indices: Sequence[int]) -> list[list[int]]:
        """Select a support for each plane: similar planes of others, nearest labels, predictions within reach."""
        supports = self._similar(indices)
        for index, support in zip(indices, supports, strict=True):
            support += sorted(self.labelled, key=lambda each: abs(each - index))[: self.config.nearest]
            support += [each for wave in self.waves for each in wave if abs(each - index) <= self.config.reach]
        return supports

    def _similar(self, indices: Sequence[int]) -> list[list[int]]:
        count = 0 if self.others is None else len(self.others.images)
        if count <= self.config.nearest:
            return [[-1 - each for each in range(count)] for _ in indices]
        chosen = nearest(self._features(self.planes[list(indices)]), self.features, self.config.nearest)
        return [[-1 - each for each in row] for row in chosen.tolist()]

    def _features(self, images: Tensor) -> Float[Tensor, "n C"]:
        if not isinstance(self.network, FeatureEncoder):
            msg = (
                f"others are too many for a network without features to select them by: expected at most "
                f"{self.config.nearest} planes, got {len(images)}. Pass fewer, or use the packaged weights."
            )
            raise ValueError(msg)
        return torch.cat([image_features(self.network, batch) for batch in images.split(self.config.batch_size)])

    def _encode(self, indices: Sequence[int], images: Tensor, labels: Tensor) -> None:
        for start in range(0, len(indices), self.config.batch_size):
            batch = slice(start, start + self.config.batch_size)
            codes = self.network.encode_images(images[batch], labels[batch])
            self.codes |= {index: codes.select(torch.tensor([[k]])) for k, index in enumerate(indices[batch])}


class _Shape:
    """The structure interpolated between labelled planes: a mean of signed distances, weighted by nearness.

    Beyond the outermost labelled planes it recedes from plane to plane, until nothing is left.
    """

    def __init__(self, labels: Mapping[int, Tensor], config: Propagation) -> None:
        self.config = config
        self.indices = sorted(labels)
        self.recession = config.step * (SINGLE if len(labels) == 1 else 1)
        is_used = config.continuity or config.stillness
        self.depths = {index: signed_distance(labels[index]) for index in self.indices} if is_used else {}
        self.common = self.drawn = 0.0

    def pulled(self, wave: list[int], logits: Float[Tensor, "n 1 H W"]) -> Float[Tensor, "n 1 H W"]:
        """Logits of a wave, pulled towards the shape as far as it has agreed with those so far."""
        if not self.config.continuity:
            return logits
        depths = torch.stack([self.depth(index) for index in wave])
        known = [row for row, index in enumerate(wave) if self._is_known(index)]
        found, expected = logits[known] > 0, depths[known] > 0
        self.common += 2 * float((found & expected).sum())
        self.drawn += float(found.sum() + expected.sum())
        low, high = AGREEMENT
        strength = min(1.0, max(0.0, (self.common / max(self.drawn, 1.0) - low) / (high - low)))
        return logits + strength * self.config.continuity * depths

    def held(
        self, wave: list[int], logits: Float[Tensor, "n 1 H W"], alike: Float[Tensor, "n 1 1 1"]
    ) -> Float[Tensor, "n 1 H W"]:
        """Logits of a wave, pulled towards the nearest labels in the share in which the planes are still."""
        nearest = torch.stack([self.depths[_nearest(self.indices, index)] for index in wave])
        return logits + alike * self.config.stillness * nearest

    def depth(self, index: int) -> Float[Tensor, "1 H W"]:
        """Signed distance from the structure's edge on a plane."""
        after = bisect_left(self.indices, index)
        if 0 < after < len(self.indices):
            first, last = self.indices[after - 1 : after + 1]
            share = (index - first) / (last - first)
            return (1 - share) * self.depths[first] + share * self.depths[last]
        end = self.indices[max(after - 1, 0)]
        return (self.depths[end] - self.recession * abs(index - end)).clamp(min=-DEPTH)

    def _is_known(self, index: int) -> bool:
        """Whether a plane is between labelled ones or next to one."""
        return self.indices[0] - 1 <= index <= self.indices[-1] + 1


def _settle(logits: Float[Tensor, "N 1 H W"], weight: float, labels: Mapping[int, Tensor]) -> None:
    """Average the logits of each unlabelled plane with its neighbours', weighted by the Dice of their masks, in place.

    A plane's own logits enter the sum in full, those of a neighbour clamped to ±`BOUND`.
    """
    neighbour_dice = [_neighbour_dice(one > 0, next_one > 0) for one, next_one in pairwise(logits)]
    weights = [0.0, *(weight * max(0.0, (each - LEAST_DICE) / (1 - LEAST_DICE)) for each in neighbour_dice), 0.0]
    before = torch.zeros_like(logits[0])
    for index, own in enumerate(logits):
        clamped = own.clamp(-BOUND, BOUND)
        if index not in labels:
            after = logits[min(index + 1, len(logits) - 1)].clamp(-BOUND, BOUND)
            first, last = weights[index : index + 2]
            logits[index] += (clamped + first * before + last * after) / (1 + first + last) - clamped
        before = clamped


def _seeds(logits: Float[Tensor, "N 1 H W"], count: int) -> list[int]:
    """Select the most confident plane of each of `count` equal runs of the planes that show something."""
    confidences = confidence(logits)
    showing = [index for index, each in enumerate(logits) if (each > 0).any()]
    parts = [showing[len(showing) * k // count : len(showing) * (k + 1) // count] for k in range(count)]
    return [max(part, key=lambda index: float(confidences[index])) for part in parts if part]


def _neighbour_dice(mask: Bool[Tensor, "1 H W"], other: Bool[Tensor, "1 H W"]) -> float:
    """Dice of two planes' masks; 0 if the first is empty, since two empty masks tell nothing of each other."""
    return dice(mask, other).item() if mask.any() else 0.0


def _check(planes: Tensor, labels: Mapping[int, Tensor], others: LabelledPlanes | None) -> None:
    if not labels and others is None:
        msg = "labels are missing: expected at least one labelled plane, got none. Label a plane or pass `others`."
        raise ValueError(msg)
    for index, label in labels.items():
        if not 0 <= index < len(planes):
            msg = f"labels name no plane: expected indices from 0 to {len(planes) - 1}, got {index}. Correct the index."
            raise ValueError(msg)
        _check_size(f"labels[{index}]", label, planes)
    if others is not None:
        _check_size("others.images", others.images[0], planes)
        _check_size("others.labels", others.labels[0], planes)


def _check_size(name: str, plane: Tensor, planes: Tensor) -> None:
    if plane.shape != planes.shape[1:]:
        expected, got = tuple(planes.shape[1:]), tuple(plane.shape)
        msg = f"{name} does not fit the planes: expected {expected}, got {got}. Bring all to one grid."
        raise ValueError(msg)
