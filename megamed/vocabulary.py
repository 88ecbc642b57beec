"""The words that cards and commands share, each with its few values; costs no import."""

from typing import Literal

Role = Literal["train", "auxiliary", "dev", "heldout"]
"""Purpose that a dataset may serve: to train on, to make choices by, or to report scores of."""
Access = Literal["open", "registration", "request"]
"""Way to obtain a dataset: download, registration, or a request that may be refused."""
CARD_NAMES = ("card.toml", "meta.json")
"""Names of the file that describes a dataset."""
DESCRIPTION = "dataset.json"
"""Name of the file by which nnU-Net and the Decathlon describe a dataset."""
Layout = Literal["folder", "msd", "nnunet", "medsegbench", "dicom", "bids", "table", "pairs"]
"""Name of the arrangement of a dataset's files."""
Split = Literal["train", "val", "test"]
"""The parts that the subjects of a dataset are divided into."""
WrittenTool = Literal[
    "coco",
    "labelme",
    "cvat",
    "labelstudio",
    "supervisely",
    "yolo",
    "qupath",
    "imagej",
    "imagescope",
    "via",
    "slicer",
    "itksnap",
    "napari",
    "ome-tiff",
    "ome-zarr",
]
"""Name of an annotation tool whose files are written."""
