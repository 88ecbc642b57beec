"""Corrections: what prompts change in the log-odds of the squares of one plane, of which each is read once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from incontext.images.marks import BOX, INSIDE, OUTSIDE, Mark
from incontext.inference.planes import Plane, Said
from incontext.networks.prompted import Begun, PromptedNet, answer, read
from incontext.networks.support_code import SupportCode
from incontext.networks.support_once import SupportOnceNet

SURE = 1e-3
"""Probability of a class where a mask to start from leaves it out, and its complement where it has it."""
REACH = 2.0
"""Distance from a stroke up to which it changes a mask to start from, in its own distance from the mask's outline.

The network forgets such a mask: with discs cut out of labels of five `dev` datasets, a click into the disc took Dice
from 95 to 74; it yields 97 where all beyond this reach stays."""


@dataclass(frozen=True, eq=False)
class Corrected:
    """A square of which something was said about a class.

    Attributes:
        maps: What was said so far, in {0, 1}, by the channels of `images.marks`.
        logits: What the network answered, before the temperature.
        is_drawn: Whether it began with a mask to start from that shows something.
    """

    maps: UInt8[np.ndarray, "3 size size"] = field(repr=False)
    logits: Float[Tensor, "size size"] = field(repr=False)
    is_drawn: bool = False


Corrections = Mapping[tuple[int, int], Corrected]
"""Corrected squares, by the index of the square and of the class."""


@dataclass(frozen=True, eq=False)
class PromptedReader:
    """The networks by which squares are corrected, and where they find the support of a class.

    Attributes:
        network: The network that reads squares.
        prompted: The network that was trained beside it.
        support: Function from squares (N, 1, H, W) and the index of a class to the code of their support; None where
            there is no example of the class.
        temperature: The number that logits are divided by.
        device: The device to compute on.
    """

    network: SupportOnceNet
    prompted: PromptedNet
    support: Callable[[Tensor, int], SupportCode | None]
    temperature: float
    device: torch.device


class PlaneCorrector:
    """Corrects one plane, and reads each of its squares once for each class that is prompted there.

    Args:
        reader: The networks and the support.
        images: The plane's squares, in [0, 1].
        found: What is found on the plane without prompts.
        shown: What is left of it where classes are improbable; those that are prompted have all that was found.
        overlap: Whether classes may overlap. If not, a pixel that is said to be of one is none of another, and another
            that is seen there is told so.
    """

    def __init__(
        self,
        reader: PromptedReader,
        images: Float32[Tensor, "tiles 1 size size"],
        found: Plane,
        shown: Plane,
        overlap: bool = False,
    ) -> None:
        self.reader = reader
        self.images = images
        self.found = found
        self.shown = shown
        self.overlap = overlap
        self._begun: dict[tuple[int, int], Begun] = {}

    @torch.inference_mode()
    def told(self, before: Corrections, mark: Mark, class_index: int) -> Corrections:
        """Correct the squares that show a stroke.

        Args:
            before: What was corrected so far.
            mark: The stroke.
            class_index: Index of the class that it is about.
        """
        after, size_px = dict(before), self.images.shape[-1]
        for tile, box in enumerate(self.found.boxes):
            if mark.mask is not None:
                drawn = torch.tensor(mark.coverage(box, size_px)).logit(eps=SURE)
                nothing_said = np.zeros((3, size_px, size_px), np.uint8)
                after[tile, class_index] = Corrected(nothing_said, drawn, bool(mark.mask.any()))
                after |= self._giving_way(before, tile, class_index, drawn)
            elif (maps := mark.on_square(box, size_px)) is not None:
                for index, said in self._told_of(before, tile, class_index, maps):
                    after[tile, index] = self._corrected(before.get((tile, index)), tile, index, said)
        return after

    def plane(self, corrections: Corrections, said: Sequence[Said]) -> Plane:
        """The plane with all that was corrected, and the pixels that obey what was said of them."""
        if not corrections:
            return self.shown
        logits = self.shown.logits.clone()
        for index in {index for _, index in corrections}:
            logits[:, index] = self.found.logits[:, index]
        for (tile, index), each in corrections.items():
            logits[tile, index] = each.logits / self.reader.temperature
        return replace(self.shown, logits=logits, said=said, is_prompted=True)

    def _told_of(
        self, before: Corrections, tile: int, class_index: int, maps: UInt8[np.ndarray, "3 size size"]
    ) -> list[tuple[int, UInt8[np.ndarray, "3 size size"]]]:
        """Maps that a square is told of each class: of others that they are not where they were seen."""
        told = [(class_index, maps)]
        if self.overlap or not maps[INSIDE].any():
            return told
        pixels = torch.from_numpy(maps[INSIDE] > 0)
        outside = np.zeros_like(maps)
        outside[OUTSIDE] = maps[INSIDE]
        for index in range(self.found.logits.shape[1]):
            known = before.get((tile, index))
            seen = self.shown.logits[tile, index] if known is None else known.logits
            if index != class_index and (seen[pixels] > 0).any():
                told.append((index, outside))
        return told

    def _giving_way(
        self, before: Corrections, tile: int, class_index: int, drawn: Float[Tensor, "size size"]
    ) -> dict[tuple[int, int], Corrected]:
        """Squares of other classes that are seen where a mask to start from is: they are less probable there."""
        after: dict[tuple[int, int], Corrected] = {}
        if self.overlap:
            return after
        for index in range(self.found.logits.shape[1]):
            known = before.get((tile, index))
            seen = self.shown.logits[tile, index] * self.reader.temperature if known is None else known.logits
            hidden = (drawn > 0) & (seen >= drawn)
            if index != class_index and hidden.any():
                maps = np.zeros((3, *drawn.shape), np.uint8) if known is None else known.maps
                is_drawn = known is not None and known.is_drawn
                after[tile, index] = Corrected(maps, torch.where(hidden, -drawn, seen), is_drawn)
        return after

    def _corrected(
        self, before: Corrected | None, tile: int, index: int, said: UInt8[np.ndarray, "3 size size"]
    ) -> Corrected:
        """Answer a further prompt about a class in a square."""
        maps, previous = said, None
        if before is not None:
            maps = before.maps | said
            for channel, other in ((INSIDE, OUTSIDE), (OUTSIDE, INSIDE)):  # of a pixel the later word counts
                maps[channel] &= 1 - said[other]
            previous = before.logits[None, None].to(self.reader.device)
        asked = torch.from_numpy(maps)[None].float().to(self.reader.device)
        begun = self._begin(tile, index)
        logits = answer(self.reader.network, self.reader.prompted, begun, asked, previous)[0, 0].float().cpu()
        if before is not None and before.is_drawn:
            return Corrected(maps, _where_said(before.logits, logits, said), True)
        return Corrected(maps, logits)

    def _begin(self, tile: int, index: int) -> Begun:
        """Read a square for a class; what nobody needs any more is forgotten."""
        if (tile, index) not in self._begun:
            image = self.images[tile, None].to(self.reader.device)
            reading = read(self.reader.network, image, self.reader.support(image, index))
            automatic = self.found.logits[tile, index, None, None] * self.reader.temperature
            begun = self.reader.prompted.begin(reading._replace(automatic=automatic.to(self.reader.device)))
            if not reading.is_alone:
                begun = begun._replace(reading=begun.reading._replace(stages=()))
            self._begun[tile, index] = begun
        return self._begun[tile, index]


def _where_said(
    drawn: Float[Tensor, "size size"], answered: Float[Tensor, "size size"], said: UInt8[np.ndarray, "3 size size"]
) -> Float[Tensor, "size size"]:
    """Take over of an answer what it says about the strokes, and leave all else as somebody drew it.

    It is what hangs together with a stroke and is changed as it says, up to `REACH`. What was drawn beyond a box goes.
    """
    from scipy import ndimage  # takes a tenth of a second to import

    was, is_in = (drawn > 0).numpy(), (answered > 0).numpy()
    changed = np.zeros_like(was)
    for channel, inside in ((INSIDE, True), (OUTSIDE, False)):
        if (stroke := said[channel] > 0).any():
            wrong = was != inside
            reach = np.inf if wrong.all() else REACH * ndimage.distance_transform_edt(wrong)[stroke].max()
            regions, _ = ndimage.label(wrong & (is_in == inside) | stroke, np.ones((3, 3)))
            near = ndimage.distance_transform_edt(~stroke) <= reach
            changed |= np.isin(regions, regions[stroke]) & near
    beyond = torch.from_numpy(was & (said[BOX] == 0) & said[BOX].any())
    return torch.where(beyond, -drawn, torch.where(torch.from_numpy(changed), answered, drawn))


def pixels_said(marks: Sequence[tuple[Mark, int]], classes: int, overlap: bool) -> list[Said]:
    """The pixels that obey, after strokes about classes of these indices.

    A pixel that is of one class is none of another, unless classes may overlap. What was said of a class before a mask
    to start from is forgotten, but not that a pixel is of another.
    """
    said: list[Said] = []
    for mark, index in marks:
        if mark.mask is not None:
            said = [each for each in said if each.class_index != index]
            said += [] if overlap else _of_others(said, index)
        elif mark.is_said:
            inside = mark.stroke.inside
            others = [] if overlap or not inside else [each for each in range(classes) if each != index]
            said += [Said(each, False, mark.rows, mark.columns) for each in others]
            said.append(Said(index, inside, mark.rows, mark.columns))
    return said


def _of_others(said: Sequence[Said], class_index: int) -> list[Said]:
    """Say of a class that it is not where another is said to be."""
    inside: dict[int, np.ndarray] = {}
    for each in said:
        before, pixels = inside.get(each.class_index, np.zeros(0, np.int64)), each.rows << 32 | each.columns
        inside[each.class_index] = np.union1d(before, pixels) if each.inside else np.setdiff1d(before, pixels)
    return [Said(class_index, False, pixels >> 32, pixels & (2**32 - 1)) for pixels in inside.values() if pixels.size]
