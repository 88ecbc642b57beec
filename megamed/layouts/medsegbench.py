"""The layout `medsegbench`: one npz file with `train_images` and `train_label`, and so for val and test."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from megamed.layouts.cases import Case, LabelSource
from megamed.readers.arrays import array_shapes
from megamed.readers.source import Source
from megamed.schema import DatasetCard, slugify
from megamed.vocabulary import Split


def find_cases(folder: Path, card: DatasetCard) -> Iterator[Case]:
    """Yield the images of the splits that the file has, each a subject of its own unless the card groups them.

    Labels may come as one array per class, `train_label_<class>`.

    Raises:
        ValueError: If the folder does not hold one readable npz file, or images and labels differ in number.
    """
    files = sorted(folder.glob("*.npz"))
    if len(files) != 1:
        msg = f"{folder.name} has no data: expected one npz file, got {[file.name for file in files] or 'none'}."
        raise ValueError(msg)
    (path,) = files
    shapes = array_shapes(path)
    classes = card.files.classes or {slugify(name): value for value, name in card.labels.items()}
    for split in get_args(Split):
        named = {f"{split}_label": None, **{f"{split}_label_{name}": value for name, value in classes.items()}}
        labels = {name: value for name, value in named.items() if name in shapes}
        images = f"{split}_images"
        if not labels and images not in shapes:
            continue
        if not labels or {shapes[name][0] for name in labels} != {shapes.get(images, (0,))[0]}:
            msg = f"{path.name} is inconsistent: expected as many {split} labels as images, got {shapes}."
            raise ValueError(msg)
        for item in range(shapes[images][0]):
            sources = (LabelSource(Source((path,), f"{name}:{item}"), value) for name, value in labels.items())
            image = {card.modality: Source((path,), f"{images}:{item}")}
            yield Case(f"{split}_{item:05d}", image, tuple(sources), split=split)
