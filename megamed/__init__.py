"""megamed: many public sources of annotated images, one collection of binary segmentation tasks.

collection = Collection("collection")
task = collection.tasks(roles=["train"])[0]
sample = collection.samples(task, split="val")[0]
image, label = collection.image(task, sample.row), collection.label(task, sample.row)
"""

from megamed.collection import Collection
from megamed.schema import DatasetCard, Sample, Task

__all__ = ["Collection", "DatasetCard", "Sample", "Task"]
