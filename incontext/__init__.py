"""Segment images from a handful of labelled examples, without training.

Names are imported on first use, so that `import incontext` costs no torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Segmentation": "segmentation",
    "Segmenter": "segmenter",
    "load_pretrained": "checkpoint",
    "load_universeg": "universeg",
    "save_universeg": "universeg",
}

__all__ = ["Segmentation", "Segmenter", "load_pretrained", "load_universeg", "save_universeg"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module 'incontext' has no attribute {name!r}. It offers {', '.join(__all__)}."
        raise AttributeError(message)
    return getattr(import_module(f"incontext.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
