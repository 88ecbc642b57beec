"""Leave-one-out: every labelled example segmented by the others, which tells what to expect of new images."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from incontext.images.examples import MOST_JUDGED, spread
from incontext.inference.backends import finite
from incontext.inference.code_stacks import turns
from incontext.inference.left_out import LeftOut
from incontext.inference.reader import CODES_PER_SQUARE, Encoded, Reader, known
from incontext.inference.selection import region_brightness, region_features, unit_looks
from incontext.inference.support_pool import Pool
from incontext.networks.protocols import Codes
from incontext.networks.quality import soft_counts
from megamed.unknown import UNKNOWN

LEAST_EXAMPLES = 4
"""Examples without which nothing is said: each would be segmented by two others or fewer."""
LEAST_PROBABILITY = 0.002
"""Least probability of what was drawn that counts, so that no single pixel decides."""
REACH = 1 / 4
"""Distance, as a share of the side, up to which a label is looked for elsewhere."""
IMPOSSIBLE = -30.0
"""Log-odds of a class that no other example shows."""

Supports = list[list[Int64[Tensor, " _"]]]
"""The support of each query in each draw, as indices into the encoded squares of a class."""


@torch.inference_mode()
def leave_one_out(reader: Reader, examples: Sequence[int] | None = None) -> LeftOut:
    """Segment labelled examples, each by the support that a new image would have, without the example itself.

    Nothing but the passes of the examples as queries is computed: the reader encodes each labelled square once, for
    this and for the images that follow. Flips are left out. Squares that were cut from one example are left out
    together, and those of one subject, where subjects are known.

    Args:
        reader: Reader of the support pool.
        examples: Numbers of the examples to judge, as `Pool.units` has them; by default at most `MOST_JUDGED`.

    Raises:
        FloatingPointError: If the network's logits are not finite.
    """
    units = reader.pool.units
    present = units.unique().tolist()
    judged = [present[i] for i in spread(len(present), MOST_JUDGED)] if examples is None else list(examples)
    squares = torch.cat([_some((units == unit).nonzero()[:, 0], len(judged)) for unit in judged])
    rows = torch.tensor([judged.index(unit) for unit in units[squares].tolist()])
    encoded, parts = reader.encoded(), []
    for asked in squares.split(reader.engine.batch_size):
        images, labels = reader.pool.images[asked].to(reader.engine.device), reader.pool.labels[asked]
        supports = [_supports(reader, each, asked, images) for each in encoded]
        log_odds = _log_odds(reader, encoded, supports, images)
        masks = torch.stack([reader.classes.layers(each) for each in log_odds])
        probabilities = reader.classes.probabilities(log_odds)
        regions = (probabilities, (labels == 1).float()) if (stages := reader.stages(images)) else ()
        features = [region_features(stages or (), each) for each in regions]
        looks = [unit_looks(stages)] if stages else []
        is_judged = reader.pool.annotated[asked] & _shown_by_others(reader.pool, encoded, supports)
        parts.append((*_compared(probabilities, masks, labels), is_judged, *(each.cpu() for each in looks + features)))
    counts, soft, surprise, misplaced, annotated, *features = map(torch.cat, zip(*parts, strict=True))
    brightness = region_brightness(reader.pool.images[squares], reader.pool.labels[squares] == 1)
    told = (counts, soft, surprise, misplaced, brightness, annotated)
    return LeftOut(torch.tensor(judged), rows, *told, *features)


@torch.inference_mode()
def check_features(found: LeftOut, reader: Reader) -> None:
    """Make sure that features of examples whose images are not at hand are of a reader's network.

    Raises:
        ValueError: If they are not.
    """
    stages = reader.stages(torch.zeros(1, *reader.pool.images.shape[1:], device=reader.device))
    widths = (unit_looks(stages).shape[1], region_features(stages, stages[0][:, :1]).shape[2]) if stages else None
    if found.widths != widths:
        message = (
            f"what examples tell of each other does not fit the network: expected {widths} features, got "
            f"{found.widths}. Load the weights that it was made with."
        )
        raise ValueError(message)


@torch.inference_mode()
def by_others(
    reader: Reader, example: int
) -> tuple[Float32[np.ndarray, "H W"], Bool[np.ndarray, "C H W"], Bool[np.ndarray, "C H W"]]:
    """The square of an example that shows most, as image, label and masks by all other examples.

    If its label shows nothing, it is the square in which the others find most.

    Args:
        reader: Reader of the support pool.
        example: Number of the example, as `Pool.units` has them.
    """
    pool = reader.pool
    squares = (pool.units == example).nonzero()[:, 0]
    drawn = (pool.labels[squares] == 1).sum((1, 2, 3))
    asked = squares[drawn.argmax(), None] if drawn.any() else squares
    encoded, images = reader.encoded(), pool.images[asked].to(reader.engine.device)
    found = _log_odds(reader, encoded, [_supports(reader, each, asked, images) for each in encoded], images)
    masks = torch.stack([reader.classes.layers(each) for each in found])
    most = masks.sum((1, 2, 3)).argmax()
    square = asked[most]
    return pool.images[square, 0].numpy(), (pool.labels[square] == 1).numpy(), masks[most].cpu().numpy()


def _some(squares: Int64[Tensor, " n"], examples: int) -> Int64[Tensor, " m"]:
    """Choose the squares of an example that are judged: evenly spread ones, at least one."""
    return squares[spread(len(squares), max(1, MOST_JUDGED // examples))]


def _compared(
    probabilities: Float32[Tensor, "N C H W"], masks: Bool[Tensor, "N C H W"], labels: UInt8[Tensor, "N C H W"]
) -> tuple[Tensor, ...]:
    """Compare masks with labels where somebody judged: `counts` to `misplaced` of `LeftOut`."""
    known, drawn = labels != UNKNOWN, labels == 1
    masks = masks & known
    counts = torch.stack([each.sum((2, 3)) for each in (masks & drawn, masks, drawn)], dim=-1).float()
    soft = soft_counts((probabilities * known).flatten(0, 1), masks.flatten(0, 1)).unflatten(0, masks.shape[:2])
    true = torch.where(drawn, probabilities, 1 - probabilities).clamp(min=LEAST_PROBABILITY)
    return counts, soft, -(true.log() * known).sum((2, 3)), gain_elsewhere(probabilities, known, drawn)


def gain_elsewhere(
    probabilities: Float32[Tensor, "N C H W"], known: Bool[Tensor, "N C H W"], drawn: Bool[Tensor, "N C H W"]
) -> Float32[Tensor, "N C"]:
    """Nats by which each label would be likelier at the best place up to `REACH` of the side away.

    A label that moves gains the log-odds of the pixels that it comes to cover and loses those of the pixels it leaves:
    this is the correlation of both, which the product of their Fourier transforms tells for all places at once.
    """
    log_odds = probabilities.clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY).logit() * known
    height, width = log_odds.shape[-2:]
    down, along = (round(REACH * side) for side in (height, width))
    shape = (height + down, width + along)
    spectra = [torch.fft.rfft2(each, shape) for each in (log_odds, drawn.float())]
    gained = torch.fft.irfft2(spectra[0] * spectra[1].conj(), shape)
    near = torch.cat([gained[..., : down + 1, :], gained[..., height:, :]], -2)
    near = torch.cat([near[..., : along + 1], near[..., width:]], -1)
    return near.amax((2, 3)) - near[..., 0, 0]


def _log_odds(
    reader: Reader, encoded: Sequence[Encoded], supports: Sequence[Supports], images: Float32[Tensor, "N 1 H W"]
) -> Float32[Tensor, "N C H W"]:
    """Log-odds of squares of the pool, by the supports of each class without what was cut from the same example."""
    passes = []
    for draw in turns(supports):
        by_class = zip(encoded, draw, strict=True)
        passes.append(torch.stack([_segment(reader, images, each.codes, sets) for each, sets in by_class], dim=1))
    return reader.mean(passes)


def _supports(
    reader: Reader, encoded: Encoded, asked: Int64[Tensor, " N"], images: Float32[Tensor, "N 1 H W"]
) -> Supports:
    """The support of each query in each draw, as indices into the encoded squares of a class."""
    relations = reader.pool.relations
    others = relations[encoded.squares] != relations[asked, None]
    if not reader.choice.per_query:
        return [[draw[fit[draw]] for fit in others] for draw in encoded.draws]
    found = []
    for query, fit in zip(reader.features(images), others, strict=True):
        near = fit.nonzero()[:, 0]
        draws = reader.choice.nearest(query[None], known(encoded)[near]) if len(near) else [near[None]]
        found.append([near[draw[0].cpu()] for draw in draws])
    return turns(found)


def _shown_by_others(pool: Pool, encoded: Sequence[Encoded], supports: Sequence[Supports]) -> Bool[Tensor, "N C"]:
    """Whether some support of each query shows each class."""
    of_classes = []
    for index, (each, draws) in enumerate(zip(encoded, supports, strict=True)):
        shows = (pool.labels[each.squares, index] == 1).flatten(1).any(1)
        of_classes.append(torch.tensor([any(bool(shows[i].any()) for i in of_query) for of_query in turns(draws)]))
    return torch.stack(of_classes, dim=1)


def _segment(
    reader: Reader, images: Float32[Tensor, "N 1 H W"], codes: Codes, supports: Sequence[Int64[Tensor, " _"]]
) -> Float32[Tensor, "N H W"]:
    """Log-odds of a class, each query by a support of its own."""
    log_odds = torch.full_like(images[:, 0], IMPOSSIBLE)
    sizes = torch.tensor([len(each) for each in supports])
    for size in sorted({*sizes.tolist()} - {0}):
        at_a_time = max(1, reader.engine.batch_size // (1 + size // CODES_PER_SQUARE))
        for some in (sizes == size).nonzero()[:, 0].split(at_a_time):
            sets = torch.stack([supports[i] for i in some]).to(images.device)
            logits = reader.engine.backend.segment(images[some], codes.select(sets).pooled())
            log_odds[some] = finite(logits)[:, 0].float() / reader.temperature
    return log_odds
