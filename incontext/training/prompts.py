"""Prompts as a person would make them, simulated from labels: where to begin, and how to correct a mask.

Prompts of N images are one tensor (N, 3, H, W) with values in {0, 1}: pixels that are said to be inside, pixels that
are said to be outside, and the filled box. A click is one pixel. No unknown pixel of a label is said to be either.

Lengths hold for images of 128×128 and are scaled to others. Equal generators give equal prompts, and those of an image
do not depend on the others of its batch.

Source:
    Wong et al., ScribblePrompt, ECCV 2024; Wong et al., MultiverSeg, ICCV 2025.
"""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from incontext.networks.prompted import BOX, INSIDE, OUTSIDE
from incontext.training.marks import SCRIBBLES, WAYS, Hand, Part, Parts, Pixels, Way
from megamed.unknown import UNKNOWN_SHARE

SIDE_PX = 128
Chance = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Kind = Literal["box", "clicks", "scribbles"]


class PromptConfig(BaseModel):
    """Numbers and kinds of the prompts that a person makes, and the care that is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[Kind, ...] = Field(default=("box", "clicks", "scribbles"), min_length=1)
    """Prompts to begin with: one of the combinations of these, all equally probable."""
    inside: tuple[Count, Count] = (1, 3)
    """Range of the number of clicks inside at the start, and of that of scribbles."""
    outside: tuple[Count, Count] = (0, 3)
    """Range of the number of clicks outside at the start, and of that of scribbles."""
    box_px: float = Field(default=20, ge=0)
    """Largest distance of a side of the box from the label; inwards, at most a tenth of the label's extent."""
    band_px: float = Field(default=4, gt=0)
    """Width of the band along borders in which some clicks lie."""
    width_px: float = Field(default=3, gt=0)
    """Largest width of a scribble."""
    warp_px: float = Field(default=2, ge=0)
    """Standard deviation of how far a scribble strays."""
    corrections: tuple[Count, Count] = (1, 3)
    """Range of the number of clicks that correct a mask at once; one scribble may take their place."""
    ways: tuple[Way, ...] = Field(default=WAYS, min_length=1)
    """Places in the error to click, all equally probable."""
    scribbled: Chance = 0.3
    """Share of corrections that are a scribble."""
    careless: Chance = 0.2
    """Share of corrections of which half are left out and half misplaced."""
    slip_px: float = Field(default=3, ge=0)
    """Largest distance along H and along W by which a correction is misplaced."""

    @model_validator(mode="after")
    def _ranges_rise(self) -> "PromptConfig":
        for name in ("inside", "outside", "corrections"):
            least, most = getattr(self, name)
            if least > most:
                msg = f"{name} is not a range: expected the least first, got ({least}, {most}). Exchange them."
                raise ValueError(msg)
        return self


DEFAULT = PromptConfig()


def first_prompts(
    labels: Float[Tensor, "N 1 H W"], rng: np.random.Generator, config: PromptConfig = DEFAULT
) -> Float[Tensor, "N 3 H W"]:
    """Draw what a person shows before there is a mask: a box, clicks or scribbles, or several of them.

    A label that is empty gets prompts outside only, and one of which nothing is known gets none.
    """
    maps, hand = _nothing(labels), _hand(labels, config)
    for drawn, label, own in zip(maps, _arrays(labels), _generators(len(labels), rng), strict=True):
        chosen = int(own.integers(1, 2 ** len(config.kinds)))
        kinds = {kind for bit, kind in enumerate(config.kinds) if chosen >> bit & 1}
        inside, outside = label > UNKNOWN_SHARE, label < UNKNOWN_SHARE
        empty = not inside.any()
        if "box" in kinds and not empty:
            drawn[BOX] = _box(inside, config.box_px * hand.scale, own)
        marks = [mark for kind, mark in MARKS.items() if kind in kinds or (empty and kinds == {"box"})]
        for region, into, count in ((inside, drawn[INSIDE], config.inside), (outside, drawn[OUTSIDE], config.outside)):
            if marks and region.any():
                parts, least = Parts(region), max(count[0], empty)
                for mark in marks:
                    for _ in range(own.integers(least, max(count[1], least) + 1)):
                        into[mark(parts.around(own), hand, own)] = True
    return _tensor(maps, labels)


def corrections(
    labels: Float[Tensor, "N 1 H W"],
    masks: Shaped[Tensor, "N 1 H W"],
    rng: np.random.Generator,
    config: PromptConfig = DEFAULT,
) -> Float[Tensor, "N 3 H W"]:
    """Draw what a person says next about a mask, in {0, 1}: clicks or a scribble where it is wrong.

    Of what the mask missed it is said that it is inside, of what it should have left out that it is outside. A mask
    without error gets no prompts.
    """
    maps, hand = _nothing(labels), _hand(labels, config)
    given = zip(maps, _arrays(labels), _arrays(masks) > 0, _generators(len(labels), rng), strict=True)
    for drawn, label, mask, own in given:
        parts = _error_parts(label, mask)
        if parts.count:
            for pixels in _marks(parts, hand, config, own):
                channel = INSIDE if label[pixels[0][0], pixels[1][0]] > UNKNOWN_SHARE else OUTSIDE
                _put(drawn, channel, _careless(pixels, config, hand, own), label != UNKNOWN_SHARE)
    return _tensor(maps, labels)


def centre_click(labels: Float[Tensor, "N 1 H W"], masks: Shaped[Tensor, "N 1 H W"]) -> Float[Tensor, "N 3 H W"]:
    """Click the pixel deepest inside the largest connected error of each mask, in {0, 1}; no click without an error.

    Depth is measured to the nearest pixel that is no such error or is beyond the image. Missed and wrongly included
    pixels do not connect.
    """
    maps = _nothing(labels)
    for drawn, label, mask in zip(maps, _arrays(labels), _arrays(masks) > 0, strict=True):
        parts = _error_parts(label, mask)
        if parts.count:
            row, column = parts.largest().centre()
            drawn[INSIDE if label[row, column] > UNKNOWN_SHARE else OUTSIDE, row, column] = True
    return _tensor(maps, labels)


def largest_errors(labels: Float[Tensor, "N 1 H W"], masks: Shaped[Tensor, "N 1 H W"]) -> Bool[Tensor, "N 1 H W"]:
    """Find the pixels of the largest connected error of each mask: those that `centre_click` clicks one of."""
    found = torch.zeros_like(masks, dtype=torch.bool)
    for pixels, label, mask in zip(found, _arrays(labels), _arrays(masks) > 0, strict=True):
        parts = _error_parts(label, mask)
        if parts.count:
            pixels[0] = torch.from_numpy(parts.numbers == 1 + parts.areas.argmax())
    return found


def join(before: Float[Tensor, "N 3 H W"], further: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 H W"]:
    """Add further prompts to earlier ones; of a pixel that is prompted again, the later word counts."""
    said = further[:, :BOX].amax(1, keepdim=True)
    kept = torch.cat([before[:, :BOX] * (1 - said), before[:, BOX:]], 1)
    return torch.maximum(kept, further)


def partial_labels(maps: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 1 H W"]:
    """Turn prompts into labels of which all but what they say is unknown; outside of a box nothing is inside."""
    inside, outside, box = (maps[:, [channel]] > 0 for channel in range(3))
    outside |= box.flatten(1).any(1)[:, None, None, None] & ~box & ~inside
    return torch.where(inside, 1.0, torch.where(outside, 0.0, UNKNOWN_SHARE))


def _hand(labels: Tensor, config: PromptConfig) -> Hand:
    """Scale what a person draws to the size of some images."""
    scale = math.sqrt(labels.shape[-2] * labels.shape[-1]) / SIDE_PX
    band_px, width_px = (max(1, round(scale * length)) for length in (config.band_px, config.width_px))
    return Hand(scale, band_px, width_px, scale * config.warp_px)


def _generators(count: int, rng: np.random.Generator) -> Iterator[np.random.Generator]:
    """Make one generator per image, so that none depends on what is drawn for another."""
    return map(np.random.default_rng, rng.integers(2**63, size=count))


def _arrays(maps: Tensor) -> np.ndarray:
    return maps[:, 0].numpy(force=True)


def _nothing(labels: Tensor) -> np.ndarray:
    return np.zeros((len(labels), 3, *labels.shape[2:]), bool)


def _tensor(maps: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(maps).to(like.device, torch.float32)


def _box(inside: np.ndarray, jitter_px: float, rng: np.random.Generator) -> np.ndarray:
    """Fill the box around a label, each of whose sides is moved on its own."""
    filled = np.ones(inside.shape, bool)
    for axis in range(2):
        along = np.flatnonzero(inside.any(1 - axis))
        first, last = int(along[0]), int(along[-1])
        inwards = min(jitter_px, (last + 1 - first) / 10)
        before, after = (round(rng.uniform(-inwards, jitter_px)) for _ in range(2))
        place = np.arange(inside.shape[axis])
        filled &= np.expand_dims((place >= first - before) & (place <= last + after), 1 - axis)
    return filled


def _click(part: Part, hand: Hand, rng: np.random.Generator) -> Pixels:
    row, column = part.click(WAYS[rng.integers(len(WAYS))], hand, rng)
    return np.array([row]), np.array([column])


def _scribble(part: Part, hand: Hand, rng: np.random.Generator) -> Pixels:
    return part.scribble(SCRIBBLES[rng.integers(len(SCRIBBLES))], hand, rng)


MARKS: dict[Kind, Callable[[Part, Hand, np.random.Generator], Pixels]] = {"clicks": _click, "scribbles": _scribble}
"""Functions that make one mark of a kind."""


def _error_parts(label: np.ndarray, mask: np.ndarray) -> Parts:
    """Connected parts of what a mask missed, and of what it should have left out."""
    return Parts((label > UNKNOWN_SHARE) & ~mask, (label < UNKNOWN_SHARE) & mask)


def _marks(parts: Parts, hand: Hand, config: PromptConfig, rng: np.random.Generator) -> Iterator[Pixels]:
    """Draw a scribble in one part, or clicks: those at a centre go to the largest part, then to the next."""
    if rng.random() < config.scribbled:
        part = parts.largest() if rng.random() < 0.5 else parts.around(rng)
        yield _scribble(part, hand, rng)
        return
    least, most = config.corrections
    by_area = iter((1 + np.argsort(-parts.areas, kind="stable")).tolist())
    for _ in range(rng.integers(least, most + 1)):
        way = config.ways[rng.integers(len(config.ways))]
        number = next(by_area, None) if way == "centre" else None
        part = parts.around(rng) if number is None else parts[number]
        row, column = part.click(way, hand, rng)
        yield np.array([row]), np.array([column])


def _careless(pixels: Pixels, config: PromptConfig, hand: Hand, rng: np.random.Generator) -> Pixels:
    """Now and then misplace a mark or leave it out."""
    if rng.random() >= config.careless:
        return pixels
    rows, columns = pixels
    if rng.random() < 0.5:
        return rows[:0], columns[:0]
    slip_px = round(config.slip_px * hand.scale)
    down, right = rng.integers(-slip_px, slip_px + 1, size=2)
    return rows + down, columns + right


def _put(drawn: np.ndarray, channel: int, pixels: Pixels, known: np.ndarray) -> None:
    """Mark those of the pixels that are on the image and known; what was said of them before counts no more."""
    rows, columns = pixels
    on_image = (rows >= 0) & (rows < known.shape[0]) & (columns >= 0) & (columns < known.shape[1])
    rows, columns = rows[on_image], columns[on_image]
    rows, columns = (places[known[rows, columns]] for places in (rows, columns))
    drawn[:BOX, rows, columns] = False
    drawn[channel, rows, columns] = True
