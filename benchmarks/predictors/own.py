"""Loading of a user's own predictor, named `module:object`."""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

from benchmarks.predictors.protocol import NamedPredictor, TaskPredictor
from benchmarks.predictors.source_identity import identity_of


def from_module(name: str, device: str = "cpu") -> NamedPredictor:
    """Import the predictor that a module holds, on Python's path or in the working directory.

    Raises:
        ValueError: If the module or the object does not exist, the object is no predictor, or `identity_of` refuses it.
    """
    module, predictor = object_of(name)
    if isinstance(predictor, type) or not (callable(predictor) or isinstance(predictor, TaskPredictor)):
        kind = f"the class {predictor.__name__}" if isinstance(predictor, type) else type(predictor).__name__
        msg = (
            f"{name} is no predictor: expected a function of query_images, support_images and support_labels, or an "
            f"object with `for_task`, got {kind}. Name an instance of it, or a function."
        )
        raise ValueError(msg)
    if isinstance(predictor, nn.Module):
        predictor.to(device).eval()
    return NamedPredictor(name, predictor, identity_of(module, predictor), provenance={})


def object_of(name: str) -> tuple[ModuleType, Any]:
    """Import what a name as `module:object` says, and the module that holds it.

    Raises:
        ValueError: If the module or the object does not exist.
    """
    module_name, _, attribute = name.partition(":")
    module = _import(module_name)
    if not hasattr(module, attribute):
        public = sorted(each for each in vars(module) if not each.startswith("_"))
        msg = (
            f"Module {module_name!r} lacks the predictor: expected an object {attribute!r}, got {', '.join(public)}. "
            "Correct what follows the colon."
        )
        raise ValueError(msg)
    return module, getattr(module, attribute)


def _import(name: str) -> Any:
    if os.getcwd() not in sys.path:  # a console script's path lacks it
        sys.path.append(os.getcwd())
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, and one that it imports is not
        msg = (
            f"Module {name!r} is missing: expected it in the working directory or installed, got none. "
            "Start where it lies, or add its folder to PYTHONPATH."
        )
        raise ValueError(msg) from error
    except (ImportError, OSError):
        raise
    except (Exception, SystemExit) as error:  # a module may be anyone's, and raise anything
        msg = (
            f"Module {name!r} cannot be imported: {type(error).__name__}: {error}. "
            f"Mend it until `python -c 'import {name}'` works."
        )
        raise ValueError(msg) from error
