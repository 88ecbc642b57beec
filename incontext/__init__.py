"""Segment images from a handful of labelled examples, without training.

Names are imported on first use, so that `import incontext` costs no torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING
from warnings import warn

if TYPE_CHECKING:
    from incontext.images.prompts import Prompts
    from incontext.images.source_image import read_label_image, read_source_image, write_mask
    from incontext.inference.segmentation import Segmentation
    from incontext.networks.checkpoint import load_pretrained
    from incontext.networks.universeg import load_universeg, save_universeg
    from incontext.segmenter import Segmenter

__version__ = "0.1.0"

_HOMES = {
    "Prompts": "images.prompts",
    "Segmentation": "inference.segmentation",
    "Segmenter": "segmenter",
    "load_pretrained": "networks.checkpoint",
    "load_universeg": "networks.universeg",
    "read_label_image": "images.source_image",
    "read_source_image": "images.source_image",
    "save_universeg": "networks.universeg",
    "write_mask": "images.source_image",
}

__all__ = [
    "Prompts",
    "Segmentation",
    "Segmenter",
    "load_pretrained",
    "load_universeg",
    "read_label_image",
    "read_source_image",
    "save_universeg",
    "write_mask",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module 'incontext' has no attribute {name!r}. It offers {', '.join(__all__)}."
        raise AttributeError(message)
    return getattr(import_module(f"incontext.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


_FORMER_NAMES = {"read_case": "read_source_image", "read_label_case": "read_label_image", "write_mask": "write_mask"}


class _FormerModule(ModuleType):
    """Module of an earlier version, whose names are found at the face of the package, with a warning."""

    def __getattr__(self, name: str) -> object:
        if name not in _FORMER_NAMES:
            message = f"module {self.__name__!r} has no attribute {name!r}. It offers {', '.join(_FORMER_NAMES)}."
            raise AttributeError(message)
        new = f"incontext.{_FORMER_NAMES[name]}"
        warn(f"{self.__name__}.{name} is deprecated: use {new}.", DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[__package__], _FORMER_NAMES[name])


cases = sys.modules["incontext.cases"] = _FormerModule("incontext.cases")
