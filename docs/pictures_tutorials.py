"""Draw pictures of the tutorials by running what they say: `python docs/pictures_tutorials.py`."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import chdir
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments.bench import Coordinates, Point
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.dialogue import dice_of
from benchmarks.experiments.figure import draw_bars
from benchmarks.plans.frozen_lists import read_list
from benchmarks.plans.task_plans import TaskPlan
from benchmarks.predictors import NamedPredictor, load_predictors, specialise
from benchmarks.reports import Results, gather
from benchmarks.scoring.evaluator import EpisodeImages
from incontext.folders import overlay
from incontext.images.normalisation import apply, choose
from incontext.images.source_image import read_label_image, read_source_image
from megamed import Collection
from megamed.label_colours import colour_of

TUTORIALS = Path(__file__).with_name("tutorials")
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLOURS = 64
"""Of a picture: enough to look at, and its file stays small."""
LABELLED, SHOWN = (5, 10, 16), (3, 4, 6, 8, 12, 14, 15, 17)
"""Planes of the volume."""
CHART_INCHES, CHART_DPI = (6.6, 2.6), 100
"""As wide as four tiles."""


def follow(page: str, folder: Path) -> None:
    """Run the blocks of a tutorial, in order, with the console scripts beside this Python."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for language, text in BLOCK.findall((TUTORIALS / f"{page}.md").read_text()):
        program = [sys.executable, "-c", text] if language == "python" else ["bash", "-euc", text]
        subprocess.run(program, cwd=folder, env=environment, check=True)


def own_images(folder: Path) -> Image.Image:
    """What `incontext segment` leaves to look at."""
    return Image.open(folder / "result" / "overlay.png")


def volumes(folder: Path) -> Image.Image:
    """Labelled planes, and what was found in others."""
    case = read_source_image(folder / "scan.nii.gz", "scan")
    images = apply(case, choose([case]))
    drawn, found = (read_label_image(folder / name, name, case).planes for name in ("drawn.npy", "ventricles.nii.gz"))
    given = _tiles("labelled", images, drawn, LABELLED)
    return overlay.contact_sheet([given, *(_tiles("found", images, found, SHOWN[k : k + 4]) for k in (0, 4))])


def collection(folder: Path) -> Image.Image:
    """The sheets of both datasets that `megamed preview` leaves."""
    return _stacked([Image.open(path) for path in sorted((folder / "preview").glob("*.png"))])


def benchmark(folder: Path) -> Image.Image:
    """Scores with their intervals, and of each task the masks of one query."""
    results = gather([folder / "scores"])
    with chdir(folder):  # where predictors of one's own are found
        predictors = load_predictors(results.ranking)
    with Collection(folder / "collection") as opened:
        plans = read_list(folder / "list.json").plans(opened)
        masks = overlay.contact_sheet([_masks(opened, plan, predictors) for plan in plans])
    return _stacked([_chart(results), masks])


def _chart(results: Results) -> Image.Image:
    summary = results.main.summary
    levels = {**summary["datasets"], "mean over datasets": summary["overall"]}
    points = [
        Point(Coordinates(level, name), Interval(**levels[level][name])) for level in levels for name in results.ranking
    ]
    experiment = EXPERIMENTS["support-size"]  # any whose unit is Dice in per cent
    figure = Figure(CHART_INCHES, CHART_DPI, layout="constrained")
    axes = figure.subplots()
    draw_bars(axes, points, experiment, {name: f"C{number}" for number, name in enumerate(results.ranking)})
    axes.set(ylabel=experiment.unit, ylim=(0, 100))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(results.ranking), frameon=False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _masks(opened: Collection, plan: TaskPlan, predictors: Iterable[NamedPredictor]) -> list[overlay.Tile]:
    episodes = plan.episodes[:1]
    task_images = EpisodeImages.load(opened, plan, episodes, "cpu")
    (images, labels), supports = task_images.queries(episodes), task_images.supports(episodes)
    shown = {f"{plan.task.dataset}, as annotated": labels}
    for each in predictors:
        predict = specialise(each.predict, opened, plan)
        with torch.inference_mode():
            masks = predict(images, *supports) >= 0
        shown[f"{each.name}, Dice {100 * dice_of(masks, labels.float()):.0f}"] = masks
    image = images[0, 0].numpy()
    return [
        overlay.Tile(caption, overlay.draw(image, mask[0, 0].numpy().astype(np.uint8), {1: colour_of(1)}))
        for caption, mask in shown.items()
    ]


def _stacked(pictures: Iterable[Image.Image]) -> Image.Image:
    return Image.fromarray(np.vstack([np.asarray(picture) for picture in pictures]))


def _tiles(what: str, images: np.ndarray, labels: np.ndarray, indices: Iterable[int]) -> list[overlay.Tile]:
    return [
        overlay.Tile(f"{what}: plane {at}", overlay.draw(images[at], labels[at], {1: colour_of(1)})) for at in indices
    ]


PICTURES: dict[str, Callable[[Path], Image.Image]] = {
    "own-images": own_images,
    "volumes": volumes,
    "collection": collection,
    "benchmark": benchmark,
}
"""Functions that draw the picture of each tutorial."""


def main(pages: list[str]) -> None:
    """Follow tutorials, all or those named, and draw the picture of each beside it."""
    for page in pages or PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            follow(page, Path(folder))
            picture = PICTURES[page](Path(folder)).convert("RGB").quantize(COLOURS)
            picture.save(TUTORIALS / f"{page}.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
