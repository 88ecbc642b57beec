"""Measurement of time and memory, and the search for the largest batch within a memory budget."""

import math
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Self

import torch

from incontext.networks.devices import free_bytes

MOST_QUERIES = {"cpu": 1, "cuda": 512}
"""Maximum queries per batch by device; one core computes a batch hardly faster than its queries one by one."""
SHARE_OF_FREE = {"cpu": 0.5, "cuda": 0.8}
"""Share of the free memory to use by default, by type of device."""
PROCESS = Path("/proc/self")


class Meter:
    """Context manager that measures the peak memory of work on a device, and the time of parts of the work."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._first_bytes = self._now_bytes()
        self.seconds = 0.0
        """Processor time, or wall-clock time on an accelerator, of all that was timed."""
        self.peak_bytes = 0
        """Peak memory of the latest work, beyond the memory that was held when the meter was made."""

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif (reset := PROCESS / "clear_refs").exists():
            reset.write_text("5")  # forget the peak of the resident set
        return self

    def __exit__(self, *_: object) -> None:
        self.peak_bytes = max(0, self._most_bytes() - self._first_bytes)

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Add the time that passes in the context to `seconds`."""
        start = self._clock()
        yield
        self.seconds += self._clock() - start

    def _clock(self) -> float:
        if self._device.type == "cpu":
            return process_time()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return perf_counter()

    def _now_bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return status_bytes("VmRSS")

    def _most_bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return status_bytes("VmHWM")


class BatchSize:
    """Search for the largest batch within a memory budget by the memory of real batches; none is computed to probe.

    Sizes double from 1 while what the next batch will take, in proportion to the last, stays below the budget.
    """

    def __init__(self, budget_bytes: float, most: int) -> None:
        self._budget_bytes, self._most = budget_bytes, most
        self.queries = 1

    @classmethod
    def fixed(cls, queries: int) -> Self:
        """Make a batch size that is given and never changes upwards."""
        size = cls(math.inf, queries)
        size.queries = queries
        return size

    def learn(self, queries: int, peak_bytes: int) -> None:
        """Learn from the peak memory of a batch with a number of queries."""
        fitting = self._budget_bytes * queries / max(1, peak_bytes)
        self.queries = max(1, int(min(max(self.queries, 2 * queries), fitting, self._most)))

    def shrink(self) -> bool:
        """Halve the batch, if it can be, after the memory did not suffice."""
        self._most = self.queries // 2
        self.queries = max(1, self._most)
        return self._most > 0


def memory_share(device: str, processes: int) -> float:
    """Bytes that each of some processes may take of a device's free memory; those on accelerators have one each."""
    torch_device = torch.device(device)
    if torch_device.type == "cuda":
        return SHARE_OF_FREE["cuda"] * free_bytes(torch_device)
    return SHARE_OF_FREE["cpu"] * free_bytes(torch_device) / processes


def status_bytes(name: str) -> int:
    """Memory figure of this process by its name in Linux' status file; elsewhere the peak so far."""
    if (path := PROCESS / "status").exists():
        return 1024 * int(re.findall(rf"{name}:\s+(\d+)", path.read_text())[0])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
