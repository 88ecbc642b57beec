"""What counts as another network, and that a module is left in the mode in which it was found."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from incontext.inference.loaded_network import LoadedNetwork


class Buffered(nn.Module):
    """A module with all that a prediction may depend on: parameters, buffers kept or not, and settings of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.1)
        self.act: nn.Module = nn.ReLU()
        self.register_buffer("scale", torch.ones(2), persistent=False)


def step(module: Buffered) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module.conv(torch.ones(1, 1, 3, 3)).sum().backward()
    optimizer.step()


def load_others(module: Buffered) -> None:
    module.load_state_dict(Buffered().state_dict())


def write_data(module: Buffered) -> None:
    """As averages of weights are written; no counter of changes tells of it."""
    version = module.conv.weight._version
    module.conv.weight.data.mul_(0.9)
    assert module.conv.weight._version == version


def swap_values(module: Buffered) -> None:
    """The sum stays, and so does every value, but not where it stands."""
    module.conv.weight.data = module.conv.weight.data.flip(0)


def replace_parameter(module: Buffered) -> None:
    module.conv.weight = nn.Parameter(module.conv.weight.detach() + 1e-6)


def run_in_training(module: Buffered) -> None:
    """Only the running statistics change."""
    module.train().norm(torch.randn(4, 2, 3, 3))


def write_unsaved_buffer(module: Buffered) -> None:
    module.get_buffer("scale").data[0] = 2


def replace_activation(module: Buffered) -> None:
    module.act = nn.SiLU()


def change_type(module: Buffered) -> None:
    module.double()


CHANGES = [
    step,
    load_others,
    write_data,
    swap_values,
    replace_parameter,
    run_in_training,
    write_unsaved_buffer,
    replace_activation,
    change_type,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_is_changed_makes_another_version(change: Callable[[Buffered], None]) -> None:
    torch.manual_seed(0)
    module = Buffered().eval()
    loaded = LoadedNetwork(module)
    before = loaded.version
    assert loaded.version == before
    change(module)
    assert loaded.version == before + 1
    assert loaded.version == before + 1


def test_what_changes_nothing_makes_no_version() -> None:
    module = Buffered()
    loaded = LoadedNetwork(module)
    before = loaded.version
    module.load_state_dict(copy.deepcopy(module.state_dict()))
    module.eval().requires_grad_(False)
    module.conv.weight = nn.Parameter(module.conv.weight.detach().clone())
    assert loaded.version == before


def test_each_module_is_put_back_into_its_own_mode() -> None:
    module = Buffered().train()
    module.norm.eval()  # as whoever freezes statistics has it
    with LoadedNetwork(module).evaluating():
        assert not any(each.training for each in module.modules())
    assert {name for name, each in module.named_modules() if not each.training} == {"norm"}


def test_a_network_from_a_file_is_watched_once_it_is_shared() -> None:
    loaded = LoadedNetwork.open("default", torch.device("cpu"))
    before = loaded.version
    module = loaded.shared()
    assert module is loaded.shared()
    assert loaded.version == before
    next(module.parameters()).data.add_(1)
    assert loaded.version == before + 1
