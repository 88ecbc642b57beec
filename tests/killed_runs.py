"""Commands that are killed at random moments and given again, and what they leave beside what undisturbed ones leave.

    KILLS=30 python -m tests.killed_runs segment FOLDER

Every third time two processes begin at once. All are forked from this one, which has imported what the command imports,
so that a moment is one of the work.
"""

import csv
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from typer import Typer

from benchmarks import cli as benchmarks_cli
from incontext import cli as incontext_cli
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed import cli as megamed_cli

SIZE_PX = 32
CLOCKED = ("cpu_minutes", "seconds", "waiting")
"""Columns of tables that tell of the clock."""
CONFIG = """
steps = 6
warmup_steps = 2
log_every = 2
dev_every = 2
probe_every = 3
checkpoint_every = 2
workers = 0
[network]
channels = [8, 8, 8]
heads = 1
head_channels = 8
[episodes]
images_per_batch = 6
set_sizes = [2, 3]
large_share = 0
"""

Contents = dict[str, object]


def drawn(seed: int, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright square in each plane, and its label."""
    rng, label = np.random.default_rng(seed), np.zeros((count, SIZE_PX, SIZE_PX), np.uint8)
    row, column = rng.integers(4, 16, 2)
    label[:, row : row + 9, column : column + 9] = 1
    return (rng.integers(0, 99, label.shape) + 120 * label).astype(np.uint8), label


def write_images(folder: Path, names: Sequence[str], labelled: bool = True) -> Path:
    """Write images and, if wanted, their labels as PNG."""
    for seed, name in enumerate(names):
        for part, (plane,) in zip(("images", "labels")[: 1 + labelled], drawn(seed), strict=False):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(plane).save(folder / part / f"{name}.png")
    return folder


def write_stack(path: Path, planes: np.ndarray) -> Path:
    """Write planes as pages of a TIFF."""
    first, *others = map(Image.fromarray, planes)
    first.save(path, save_all=True, append_images=others)
    return path


def write_datasets(root: Path) -> Path:
    """Write three datasets of one subject an image, for training, development and benchmarks."""
    for role in ("train", "dev", "heldout"):
        folder = write_images(root / role, [f"p{number}" for number in range(9)])
        card = {"id": role, "modality": "CT", "role": role, "labels": {"1": "square"}, "license": "CC0"}
        (folder / "meta.json").write_text(json.dumps(card))
    return root


def write_weights(path: Path) -> Path:
    """Write a network that learnt nothing."""
    torch.manual_seed(0)
    checkpoint.save(path, SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)), {})
    return path


def as_written(out: Path) -> Contents:
    """Contents of the files that a user sees, byte for byte."""
    found = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def of_segment(out: Path) -> Contents:
    """Contents without what is told of this run alone: images resumed, tools' files written, order of the log."""
    found = as_written(out)
    found["summary.json"] = json.loads((out / "summary.json").read_text()) | {"resumed": 0, "tool_files": []}
    found["progress.jsonl"] = sorted((out / "progress.jsonl").read_text().splitlines())
    return found


def of_build(out: Path) -> Contents:
    """Contents without the report, which tells what this build did and what former ones did."""
    return {name: content for name, content in as_written(out).items() if name != "build_report.json"}


def of_training(out: Path) -> Contents:
    """Weights and tables without what they tell of the clock."""
    found: Contents = {}
    for name in ("weights", "best"):
        tensors = load_file(out / f"{name}.safetensors")
        found |= {f"{name} {key}": tensor.numpy().tobytes() for key, tensor in tensors.items()}
    return found | {name: unclocked(out / f"{name}.csv") for name in ("log", "dev", "probe")}


def of_benchmark(out: Path) -> Contents:
    """Rows and summary without costs, which tell of the clock."""
    summary = json.loads((out / "summary.json").read_text())
    return {
        "rows": (out / "rows.csv").read_bytes(),
        "summary.csv": (out / "summary.csv").read_bytes(),
        "overall": summary["overall"],
    }


def unclocked(path: Path) -> list[dict[str, str]]:
    """Read a table without the columns that tell of the clock."""
    with path.open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in CLOCKED} for row in csv.DictReader(file)]


@dataclass(frozen=True)
class Killed:
    """A command that may be killed at any moment."""

    app: Typer
    arguments: Callable[[Path], list[object]]
    """Makes the arguments, but for `--out`, in a folder with everything that they name."""
    read: Callable[[Path], Contents] = as_written
    out: str = "out"
    imports: Sequence[str] = ()
    """Modules that the command imports when it is given."""


def segment(folder: Path) -> list[object]:
    support = write_images(folder / "support", ["a", "b"])
    query = write_images(folder / "query", [f"q{number}" for number in range(8)], labelled=False)
    weights = write_weights(folder / "w.safetensors")
    tools = ("--write", "coco", "--write", "labelme", "--statistics", "--quiet")
    return ["segment", "--support", support, "--query", query, "--weights", weights, *tools]


def tune(folder: Path) -> list[object]:
    support = write_images(folder / "support", "abcd")
    query = write_images(folder / "query", ["q0", "q1"], labelled=False)
    weights = write_weights(folder / "w.safetensors")
    return ["segment", "--support", support, "--query", query, "--weights", weights, "--tune", 4, "--quiet"]


def propagate(folder: Path) -> list[object]:
    image, label = drawn(0, 8)
    label[1:] = 0
    volume, labels = write_stack(folder / "volume.tif", image), write_stack(folder / "labels.tif", label)
    return ["propagate", volume, "--labels", labels, "--weights", write_weights(folder / "w.safetensors")]


def build(folder: Path) -> list[object]:
    return ["build", write_datasets(folder / "data"), "--size", SIZE_PX, "--workers", 1, "--quiet"]


def train(folder: Path) -> list[object]:
    (folder / "settings.toml").write_text(CONFIG)
    return ["train", "--collection", collection(folder), "--config", folder / "settings.toml", "--device", "cpu"]


def bench(folder: Path) -> list[object]:
    asked = ("--predictor", "mean-mask", "--predictor", "nearest-copy", "--support-size", 2, "--draws", 2)
    return ["run", "--collection", collection(folder), *asked, "--workers", 1, "--device", "cpu"]


def collection(folder: Path) -> Path:
    """Build the collection that a command reads."""
    from megamed.build import BuildOptions
    from megamed.build import build as build_here
    from megamed.standardise import Standard

    options, root = BuildOptions(Standard(size_px=SIZE_PX)), write_datasets(folder / "data")
    with ThreadPoolExecutor(1) as executor:
        build_here(root, folder / "collection", options, executor, lambda *_: None)
    return folder / "collection"


SEGMENTING = ("incontext.folders.segment_folder", "incontext.folders.segmenter_options")
TRAINING = ("incontext.training.augment", "kornia", "torch._dynamo")
"""Modules that training imports, the last one in the first optimiser."""

COMMANDS = {
    "segment": Killed(incontext_cli.app, segment, of_segment, imports=SEGMENTING),
    "tune": Killed(incontext_cli.app, tune, of_segment, imports=(*SEGMENTING, *TRAINING)),
    "propagate": Killed(
        incontext_cli.app,
        propagate,
        lambda out: as_written(out.parent),
        "out/mask.tif",
        ("incontext.folders.propagate_file", "incontext.folders.segmenter_options", "tifffile"),
    ),
    "build": Killed(megamed_cli.app, build, of_build, imports=("megamed.build", "megamed.executors")),
    "train": Killed(incontext_cli.app, train, of_training, imports=("incontext.training.loop", *TRAINING)),
    "bench": Killed(benchmarks_cli.app, bench, of_benchmark, imports=("benchmarks.run", "benchmarks.reports.terminal")),
}


def start(app: Typer, arguments: Sequence[object]) -> int:
    """Begin a command in a forked process of a group of its own, and return its id."""
    process = os.fork()
    if process:
        return process
    os.setsid()
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    status = 70
    try:
        app([str(each) for each in arguments])
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        os._exit(status)


def finish(process: int) -> int:
    """Wait for a process, and return its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill(process: int) -> int:
    """Kill a process that was started here, with its workers, and return how it ended."""
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:  # it has no group of its own yet
        os.kill(process, signal.SIGKILL)
    return finish(process)


def differences(found: Contents, whole: Contents) -> list[str]:
    """Names of the contents that differ."""
    return sorted(name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name))


def kill_often(name: str, folder: Path, kills: int, seed: int = 0) -> list[str]:
    """Kill a command at random moments, give it again, and say where what it left differs from the undisturbed one."""
    command, moments = COMMANDS[name], random.Random(seed)
    folder.mkdir(parents=True)
    for module in command.imports:
        import_module(module)
    arguments = command.arguments(folder)

    def asked(place: str) -> list[object]:
        return [*arguments, "--out", folder / place / command.out]

    began = time.monotonic()
    if status := finish(start(command.app, asked("whole"))):
        return [f"{name} ends with status {status}, undisturbed"]
    seconds, whole = time.monotonic() - began, command.read(folder / "whole" / command.out)
    faults = []
    for number in range(kills):
        place = f"killed{number}"
        running = [start(command.app, asked(place)) for _ in range(2 if number % 3 == 2 else 1)]
        time.sleep(moments.uniform(0, seconds))
        kill(running.pop(0))
        for process in running:  # which may have found the place in use
            finish(process)
        if status := finish(start(command.app, asked(place))):
            faults.append(f"{name} ends with status {status} after kill {number}")
        elif differing := differences(command.read(folder / place / command.out), whole):
            faults.append(f"{name} differs after kill {number}: {', '.join(differing)}")
    return faults


def main() -> None:
    """Write what differs, and end with status 1 if anything does."""
    torch.set_num_threads(1)
    found = kill_often(sys.argv[1], Path(sys.argv[2]), int(os.environ.get("KILLS", "3")))
    sys.stdout.write("".join(f"{fault}\n" for fault in found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
