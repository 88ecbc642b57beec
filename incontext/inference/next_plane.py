"""The plane of a volume to draw next: where most is uncertain that is far from what was drawn."""

import torch
from jaxtyping import Float
from torch import Tensor

from incontext.inference.planes import CasePrediction, Classes, DrawnPlane, Plane


def next_plane(found: CasePrediction, classes: Classes) -> int:
    """Find the plane whose drawing would help most.

    Each plane is expected to be wrong in as many pixels as its probabilities say: the sum of the share of all classes
    but the most probable one. A plane that is drawn mends the planes around it, by one minus the ratio of their
    distance to it and to the nearest plane that was drawn before. Of all planes the one is taken that mends most: it
    lies where masks are uncertain, and far from what was drawn. Planes that were prompted count as drawn.

    Args:
        found: A stack or volume, of which some planes may be drawn.
        classes: The classes that are sought.

    Raises:
        ValueError: If all planes are drawn.
    """
    drawn = [index for index, plane in enumerate(found.planes) if isinstance(plane, DrawnPlane) or plane.is_prompted]
    count = len(found.planes)
    if len(drawn) == count:
        msg = f"no plane is left: expected some that nobody drew, got labels of all {count}. Correct one of these."
        raise ValueError(msg)
    wrong = torch.tensor([0.0 if isinstance(plane, DrawnPlane) else _wrong(plane, classes) for plane in found.planes])
    places = torch.arange(count)
    apart = (places[:, None] - places).abs()
    before = apart[:, drawn].amin(1) if drawn else torch.full_like(places, count)
    mended = (wrong[:, None] * (1 - apart / before.clamp(min=1)[:, None]).clamp(min=0)).sum(0)
    mended[drawn] = -1
    return int(mended.argmax())


def _wrong(plane: Plane, classes: Classes) -> float:
    """Number of pixels of a plane's squares that are expected to be wrong."""
    return float(_doubt(classes.probabilities(plane.logits.float()), classes.overlap).sum())


def _doubt(probabilities: Float[Tensor, "N C H W"], overlap: bool) -> Tensor:
    """Probability of each pixel to be wrong; of classes that may overlap, of each class."""
    if overlap:
        return torch.minimum(probabilities, 1 - probabilities)
    background = 1 - probabilities.sum(1, keepdim=True)
    return 1 - torch.cat([background, probabilities], 1).amax(1)
