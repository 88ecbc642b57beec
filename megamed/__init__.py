"""megamed: many public sources of annotated images, one collection of binary segmentation tasks.

collection = Collection("collection")
task = collection.tasks(roles=["train"])[0]
sample = collection.samples(task, split="val")[0]
image, label = collection.image(task, sample.row), collection.label(task, sample.row)

Names are imported on first use, so that `megamed --help` costs neither h5py nor pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from megamed.collection import Collection
    from megamed.schema import DatasetCard, Sample, Task

_HOMES = {"Collection": "collection", "DatasetCard": "schema", "Sample": "schema", "Task": "schema"}

__all__ = ["Collection", "DatasetCard", "Sample", "Task"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module 'megamed' has no attribute {name!r}. It offers {', '.join(__all__)}."
        raise AttributeError(message)
    return getattr(import_module(f"megamed.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__]
