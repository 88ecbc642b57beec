"""Codes of supports, and what examples tell of each other, as tensors of a task file, which holds no images then."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from incontext.inference.choice import FLIPS
from incontext.inference.left_out import LeftOut
from incontext.inference.support_pool import SharedCodes
from incontext.networks.support_code import SupportCode

CODE = "code."
"""Beginning of the names of the tensors of codes."""
NAME = re.compile(r"code\.(\d)\.(\d{1,3})\.(\d{1,3})\.(\w+)", re.ASCII)
"""Form of these names: numbers of the view, the draw and the class, and the part of its code."""
LEFT_OUT = "left_out."
"""Beginning of the names of the tensors of what examples tell of each other; see `Fitted.left_out` on the number."""
TOLD = re.compile(r"left_out\.([01])\.(\w+)", re.ASCII)


def tensors_of(codes: SharedCodes, left_out: Sequence[LeftOut] = ()) -> dict[str, Tensor]:
    """Name the tensors of all codes, and of what their examples tell of each other.

    Raises:
        ValueError: If the network makes other codes than the support-once network.
    """
    found: dict[str, Tensor] = {}
    for axes, draws in codes.items():
        for draw, of_classes in enumerate(draws):
            for index, code in enumerate(of_classes):
                if not isinstance(code, SupportCode):
                    msg = (
                        "task cannot be saved without images: expected the codes of a support-once network, got "
                        f"{type(code).__name__}. Use weights='default'."
                    )
                    raise ValueError(msg)
                place = f"{CODE}{FLIPS.index(axes)}.{draw}.{index}"
                found |= {f"{place}.{name}": each.cpu().clone() for name, each in code.tensors().items()}
    for number, told in enumerate(left_out):
        found |= {f"{LEFT_OUT}{number}.{name}": each.clone() for name, each in told.tensors().items()}
    return found


def left_out_of(tensors: Mapping[str, Tensor], classes: int) -> tuple[tuple[LeftOut, ...], dict[str, Tensor]]:
    """Put together what examples tell of each other, of tensors of a file that need not be trusted.

    Args:
        tensors: All tensors of the file.
        classes: Number of classes that it tells of.

    Returns:
        What they tell, and the tensors that are none of it.

    Raises:
        ValueError: If they tell nothing, or it is incomplete or does not fit.
    """
    found: list[dict[str, Tensor]] = [{}, {}]
    rest = {}
    for name, each in tensors.items():
        if match := TOLD.fullmatch(name):
            found[int(match[1])][match[2]] = each
        else:
            rest[name] = each
    told = found if found[1] else found[:1]
    return tuple(LeftOut.of(each, classes) for each in told), rest


def codes_of(tensors: Mapping[str, Tensor], classes: int) -> SharedCodes:
    """Put codes together from tensors of a file that need not be trusted.

    Args:
        tensors: All tensors of the file.
        classes: Number of classes that it tells of.

    Raises:
        ValueError: If they are not complete codes of finite numbers, for each view and class.
    """
    found = defaultdict[tuple[int, int, int], dict[str, Tensor]](dict)
    for name, each in tensors.items():
        if not (place := NAME.fullmatch(name)):
            msg = f"codes have an odd tensor: expected {CODE}0.0.0.keys_0 and the like, got {name!r}."
            raise ValueError(msg)
        is_seen = place[4].startswith("seen")
        if each.dtype != (torch.bool if is_seen else torch.float32) or not each.isfinite().all():
            msg = f"codes have odd values: expected finite numbers of float32, got others in {name}."
            raise ValueError(msg)
        found[int(place[1]), int(place[2]), int(place[3])][place[4]] = each
    views, draws = (1 + max((key[part] for key in found), default=0) for part in (0, 1))
    expected = {(view, draw, index) for view in range(views) for draw in range(draws) for index in range(classes)}
    if found.keys() != expected or views not in (1, 2, len(FLIPS)):
        msg = f"codes are incomplete: expected {len(expected)} for {classes} classes, got {len(found)}."
        raise ValueError(msg)
    return {
        FLIPS[view]: [[SupportCode.of(found[view, draw, index]) for index in range(classes)] for draw in range(draws)]
        for view in range(views)
    }
