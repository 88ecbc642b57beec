"""The processes that train one network together: started by `torchrun`, or one alone."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Processes:
    """The rank of this process among those that train together, and their sums over all processes."""

    rank: int = 0
    count: int = 1
    _latest: list[Tensor] = field(default_factory=list, repr=False, compare=False)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def share(self, batches: range) -> range:
        """Batches of this process: every `count`-th of some, beginning with the `rank`-th.

        Raises:
            ValueError: If the batches do not divide among the processes.
        """
        if len(batches) % self.count:
            msg = (
                f"batches_per_step do not divide among the processes: expected a multiple of {self.count}, got "
                f"{len(batches)}. Set batches_per_step to {-(-len(batches) // self.count) * self.count}."
            )
            raise ValueError(msg)
        return batches[self.rank :: self.count]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their sums over all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        self._latest[:] = [flat]  # should gloo's thread be the last to let go of it, the end of Python would abort it
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))


ALONE = Processes()


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the other processes if `torchrun` started this one; without it the process trains alone."""
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
        distributed.barrier()  # one that leaves while others work may be aborted, and all others with it
    finally:
        distributed.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """Choose the GPU of this process: that of its local rank, unless the device names one."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def started_first() -> bool:
    """Whether this process is alone, or the first that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"
