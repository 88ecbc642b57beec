"""Dice by hand on drawings of nine pixels."""

import pytest
import torch

from benchmarks.metrics import areas_px, dice


def drawing(*rows: str) -> torch.Tensor:
    """A (1, 1, H, W) mask; `#` is foreground."""
    return torch.tensor([[pixel == "#" for pixel in row] for row in rows])[None, None]


LABEL = drawing("##.", "##.", "...")
EMPTY = drawing("...", "...", "...")


@pytest.mark.parametrize(
    ("mask", "label", "expected"),
    [
        (LABEL, LABEL, 1.0),
        (drawing("...", "..#", ".##"), LABEL, 0.0),
        (drawing(".##", ".##", "..."), LABEL, 0.5),  # 2 shared pixels of 4 + 4
        (drawing("#..", "...", "..."), LABEL, 0.4),  # 1 shared pixel of 1 + 4
        (EMPTY, EMPTY, 1.0),
        (EMPTY, LABEL, 0.0),
        (LABEL, EMPTY, 0.0),
    ],
)
def test_dice_by_hand(mask: torch.Tensor, label: torch.Tensor, expected: float) -> None:
    assert dice(mask, label).item() == pytest.approx(expected)


def test_dice_is_symmetric_and_batched_equals_one_at_a_time() -> None:
    generator = torch.Generator().manual_seed(0)
    masks, labels = (torch.rand(6, 1, 5, 7, generator=generator) > 0.6 for _ in range(2))
    together = dice(masks, labels)
    assert torch.equal(together, dice(labels, masks))
    assert torch.equal(together, torch.cat([dice(masks[[i]], labels[[i]]) for i in range(6)]))


def test_areas_by_hand() -> None:
    assert areas_px(torch.cat([LABEL, EMPTY])).tolist() == [4, 0]
