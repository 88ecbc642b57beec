"""The machine-learning backend of Label Studio: the routes by which it asks for masks of its tasks.

See https://labelstud.io/guide/ml_create.
"""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from incontext.inference.segmentation import Segmentation
from incontext.page.error_answers import answer_errors
from incontext.segmenter import Segmenter
from megamed.annotation_tools.label_studio import UPLOAD_MARK, file_name_of, regions_of
from megamed.annotation_tools.text_files import mapping
from megamed.failures import Attempt

LOG = logging.getLogger(__name__)
VERSION = "incontext"
"""Name under which Label Studio lists what is predicted."""
BRUSH = "BrushLabels"


class UnknownImage(ValueError):
    """A task is about an image that is not in the folder."""


class TasksMessage(BaseModel):
    """Tasks to predict, and the configuration of their project."""

    tasks: list[dict[str, Any]]
    label_config: str = ""


def build_backend(segmenter: Segmenter, folder: Path) -> FastAPI:
    """Make the backend.

    Args:
        segmenter: Segmenter with examples.
        folder: Folder of the images, which are known by their names; nothing outside of it is read.
    """
    app = FastAPI(title="incontext for Label Studio", docs_url=None, redoc_url=None)
    answer_errors(app, {UnknownImage: 404, ValueError: 422, OSError: 422})

    @app.get("/health")
    def health() -> dict[str, str]:
        """Whether it runs."""
        return {"status": "UP", "model_class": VERSION}

    @app.post("/setup")
    def setup() -> dict[str, str]:
        """Version of the model, for a project that is being connected."""
        return {"model_version": VERSION}

    @app.post("/webhook")
    def webhook() -> dict[str, str]:
        """Take note of an event; nothing is learned from it."""
        return {"status": "ignored"}

    @app.post("/predict")
    def predict(message: TasksMessage) -> dict[str, list[dict[str, Any]]]:
        """Segment the images of tasks; one that cannot be segmented has no regions, unless that is so of all."""
        controls = controls_of(message.label_config)
        answers, errors = [], []
        for task in message.tasks:
            with Attempt() as attempt:
                answers.append({**predicted(segmenter, folder, task, controls), "model_version": VERSION})
            if attempt.error:
                answers.append({"result": [], "score": 0.0, "model_version": VERSION, "error": attempt.reason})
                errors.append(attempt.error)
                LOG.warning("task %s: %s", task.get("id"), attempt.reason)
        if errors and len(errors) == len(answers):
            raise errors[0]
        return {"results": answers}

    return app


def predicted(segmenter: Segmenter, folder: Path, task: Mapping[str, Any], controls: tuple[str, str]) -> dict[str, Any]:
    """Segment the image of a task.

    Args:
        segmenter: Segmenter with examples.
        folder: Folder of the images.
        task: The task, as Label Studio sends it.
        controls: Names of the brush and of the image.

    Returns:
        Regions and score.

    Raises:
        UnknownImage: If the folder has no such image.
        ValueError: If the image cannot be used.
        OSError: If it cannot be read.
    """
    name = file_name_of(mapping(task.get("data")))
    with warnings.catch_warnings(action="ignore"):
        result = segmenter.predict(place_of(folder, name))
    return {"result": regions_of(result.drawn(0, name), *controls), "score": score_of(result)}


def controls_of(configuration: str) -> tuple[str, str]:
    """Find the names of the brush and of the image in the configuration of a project; the usual ones if none is sent.

    Raises:
        HTTPException: If it is no XML, or has no brush.
    """
    if not configuration:
        return "tag", "image"
    try:
        brush = next(ElementTree.fromstring(configuration).iter(BRUSH), None)
    except ElementTree.ParseError as error:
        raise HTTPException(422, f"label_config is no XML: {error}.") from error
    if brush is None:
        raise HTTPException(422, f"label_config takes no masks: expected {BRUSH}, got other controls. Add this one.")
    return brush.get("name", "tag"), brush.get("toName", "image")


def place_of(folder: Path, name: str) -> Path:
    """Find the file of an image, by its path below the folder or by its name alone, as uploads have it.

    Raises:
        UnknownImage: If there is none in the folder.
    """
    below = folder.resolve()
    for given in (name, Path(name).name, UPLOAD_MARK.sub("", Path(name).name)):
        path = (below / given).resolve()
        if path.is_relative_to(below) and path.is_file():
            return path
    msg = f"image is unknown: expected one in {folder.name}, got {Path(name).name}. Copy it there."
    raise UnknownImage(msg)


def score_of(result: Segmentation) -> float | None:
    """Predicted Dice of the poorest class; None if the weights predict none."""
    try:
        return float(np.min(result.predicted_dice))
    except ValueError:
        return None
