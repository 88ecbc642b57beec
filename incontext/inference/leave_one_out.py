"""Leave-one-out: every labelled example segmented by the others, which tells what to expect of new images."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from incontext.images.examples import spread
from incontext.inference.backends import finite
from incontext.inference.reader import CODES_PER_SQUARE, Encoded, Reader, known, turns
from incontext.networks.protocols import Codes
from megamed.unknown import UNKNOWN

LEAST_EXAMPLES = 4
"""Examples without which nothing is said: each would be segmented by two others or fewer."""
MOST_EXAMPLES = 64
"""Examples that are judged, evenly spread among all, and squares of them unless each has one only."""
IMPOSSIBLE = -30.0
"""Log-odds of a class that no other example shows."""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Masks of examples by all others, compared with their labels; rows are examples, columns are classes.

    Attributes:
        examples: Number of the example of each row, as `Pool.units` has them.
        overlap: Pixels of mask and label together: in both, in the mask, in the label.
    """

    examples: Int64[Tensor, " N"]
    overlap: Float32[Tensor, "N C 3"] = field(repr=False)

    @property
    def shown(self) -> Bool[Tensor, "N C"]:
        """Whether an example shows a class."""
        return self.overlap[..., 2] > 0

    @property
    def dice(self) -> Float[Tensor, "N C"]:
        """Dice of the masks; NaN where the example does not show the class."""
        both, mask, label = self.overlap.unbind(-1)
        return torch.where(self.shown, 2 * both / (mask + label), torch.nan)


@torch.inference_mode()
def leave_one_out(reader: Reader, examples: Sequence[int] | None = None) -> LeftOut:
    """Segment labelled examples, each by the support that a new image would have, without the example itself.

    Nothing but the passes of the examples as queries is computed: the reader encodes each labelled square once, for
    this and for the images that follow. Flips are left out. Squares that were cut from one example are left out
    together.

    Args:
        reader: Reader of the support pool.
        examples: Numbers of the examples to judge, as `Pool.units` has them; by default at most `MOST_EXAMPLES`.

    Raises:
        FloatingPointError: If the network's logits are not finite.
    """
    units = reader.pool.units
    present = units.unique().tolist()
    judged = [present[i] for i in spread(len(present), MOST_EXAMPLES)] if examples is None else list(examples)
    squares = torch.cat([_some((units == unit).nonzero()[:, 0], len(judged)) for unit in judged])
    rows = torch.tensor([judged.index(unit) for unit in units[squares].tolist()])
    overlap = torch.zeros(len(judged), len(reader.classes.names), 3)
    encoded = reader.encoded()
    for part in torch.arange(len(squares)).split(reader.means.batch_size):
        asked = squares[part]
        masks = torch.stack([reader.classes.layers(each) for each in _log_odds(reader, encoded, asked)])
        overlap.index_add_(0, rows[part], _overlap(masks, reader.pool.labels[asked]))
    return LeftOut(torch.tensor(judged), overlap)


def _some(squares: Int64[Tensor, " n"], examples: int) -> Int64[Tensor, " m"]:
    """Choose the squares of an example that are judged: evenly spread ones, at least one."""
    return squares[spread(len(squares), max(1, MOST_EXAMPLES // examples))]


def _overlap(masks: Bool[Tensor, "N C H W"], labels: UInt8[Tensor, "N C H W"]) -> Float32[Tensor, "N C 3"]:
    """Count pixels in mask and label, in the mask and in the label, where somebody judged."""
    masks = masks & (labels != UNKNOWN)
    drawn = labels == 1
    return torch.stack([each.sum((2, 3)) for each in (masks & drawn, masks, drawn)], dim=-1).float()


def _log_odds(reader: Reader, encoded: Sequence[Encoded], asked: Int64[Tensor, " N"]) -> Float32[Tensor, "N C H W"]:
    """Log-odds of squares of the pool, by supports without what was cut from the same example."""
    images = reader.pool.images[asked].to(reader.means.device)
    passes = []
    for draw in turns([_supports(reader, each, asked, images) for each in encoded]):
        by_class = zip(encoded, draw, strict=True)
        passes.append(torch.stack([_segment(reader, images, each.codes, sets) for each, sets in by_class], dim=1))
    return reader.mean(passes)


def _supports(
    reader: Reader, encoded: Encoded, asked: Int64[Tensor, " N"], images: Float32[Tensor, "N 1 H W"]
) -> list[list[Int64[Tensor, " _"]]]:
    """The support of each query in each draw, as indices into the encoded squares of a class."""
    units = reader.pool.units
    others = units[encoded.squares] != units[asked, None]
    if not reader.choice.per_query:
        return [[draw[fit[draw]] for fit in others] for draw in encoded.draws]
    found = []
    for query, fit in zip(reader.features(images), others, strict=True):
        near = fit.nonzero()[:, 0]
        draws = reader.choice.nearest(query[None], known(encoded)[near]) if len(near) else [near[None]]
        found.append([near[draw[0].cpu()] for draw in draws])
    return turns(found)


def _segment(
    reader: Reader, images: Float32[Tensor, "N 1 H W"], codes: Codes, supports: Sequence[Int64[Tensor, " _"]]
) -> Float32[Tensor, "N H W"]:
    """Log-odds of a class, each query by a support of its own."""
    log_odds = torch.full_like(images[:, 0], IMPOSSIBLE)
    sizes = torch.tensor([len(each) for each in supports])
    for size in sorted({*sizes.tolist()} - {0}):
        at_a_time = max(1, reader.means.batch_size // (1 + size // CODES_PER_SQUARE))
        for some in (sizes == size).nonzero()[:, 0].split(at_a_time):
            sets = torch.stack([supports[i] for i in some]).to(images.device)
            logits = reader.means.backend.segment(images[some], codes.select(sets).pooled())
            log_odds[some] = finite(logits)[:, 0].float() / reader.temperature
    return log_odds
