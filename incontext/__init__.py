"""Segment images from a handful of labelled examples, without training.

Names are imported on first use, so that `import incontext` costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from incontext.inference.segmentation import Segmentation
    from incontext.networks.checkpoint import load_pretrained
    from incontext.networks.universeg import load_universeg, save_universeg
    from incontext.segmenter import Segmenter

__version__ = "0.1.0"

_HOMES = {
    "Segmentation": "inference.segmentation",
    "Segmenter": "segmenter",
    "load_pretrained": "networks.checkpoint",
    "load_universeg": "networks.universeg",
    "save_universeg": "networks.universeg",
}

__all__ = ["Segmentation", "Segmenter", "load_pretrained", "load_universeg", "save_universeg"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module 'incontext' has no attribute {name!r}. It offers {', '.join(__all__)}."
        raise AttributeError(message)
    return getattr(import_module(f"incontext.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
