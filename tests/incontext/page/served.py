"""Servers of the page for tests: the command itself, in a fork of this process, which has imported all it needs."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from incontext.cli import app
from incontext.networks import checkpoint
from incontext.networks.prompted import PromptedConfig, PromptedNet
from incontext.networks.prompted_weights import prompted_beside
from megamed.files import sha256_of
from tests.killed_runs import finish, write_weights

LONGEST_S = 600
"""Seconds after which a server ends by itself."""


@dataclass
class Served:
    """A server that runs.

    Attributes:
        address: Address of its page, with the token.
        process: Number of its process.
    """

    address: str
    process: int

    def kill(self) -> None:
        """Kill it in the middle of whatever it does."""
        os.kill(self.process, signal.SIGKILL)
        finish(self.process)
        self.process = 0

    def end(self) -> int:
        """Interrupt it, as Ctrl-C does, and return its exit status."""
        os.kill(self.process, signal.SIGINT)
        process, self.process = self.process, 0
        return finish(process)


def write_networks(weights: Path) -> Path:
    """Write networks that learned nothing, one of which takes prompts, unless they are there."""
    if not weights.exists():
        prompted = PromptedNet(PromptedConfig(read_channels=(8, 8, 8), channels=(8, 8, 8), matched_channels=4))
        told = {"beside": {"sha256": sha256_of(write_weights(weights))}}
        checkpoint.save(prompted_beside(weights), prompted, told, torch.float32)
    return weights


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """Serve the page of a folder by networks that learned nothing."""
    weights = write_networks(folder.parent / "weights.safetensors")
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)
        sys.stdout = os.fdopen(writing, "w")
        signal.alarm(LONGEST_S)  # it must not outlive a test that fails
        status = 70
        try:
            app(["annotate", str(folder), "--no-browser", "--weights", str(weights), *options])
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as told:
        words = told.readline().split()
        assert words, "the server ended before it told its address"
        found = Served(words[-1], process)
        try:
            yield found
        finally:
            if found.process:
                found.end()
