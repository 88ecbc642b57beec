"""A file of prompts for the images of a folder: what is said of each, by the name of its file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self
from unicodedata import normalize

from incontext.folders.report import listed, with_noun
from incontext.folders.user_folder import read_sample
from incontext.images.prompt_json import from_json
from incontext.images.prompts import Prompts, sought
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.pairing import ImagePair
from megamed.readers.faults import check_no_stream


@dataclass(frozen=True)
class PromptFile:
    """Prompts by the names that a file gives to images.

    Attributes:
        name: Name of the file.
        prompts: Prompts about each image.
    """

    name: str = ""
    prompts: Mapping[str, Prompts] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a JSON object with the prompts about each image under the name of its file; see `images.prompt_json`.

        Raises:
            ValueError: If the file holds anything else; the message names the file and the entry.
            OSError: If it cannot be read.
        """
        check_no_stream(path)
        try:
            content = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=_once)
        except OSError as error:
            msg = f"{path} is unreadable: expected a JSON file of prompts, got '{error.strerror}'. Check the path."
            raise type(error)(msg) from error
        except _SaidTwice as error:
            msg = f"{path} says something twice: expected each name once in an object, got {error} again. Join the two."
            raise ValueError(msg) from error
        except (ValueError, RecursionError) as error:
            msg = f"{path} is not readable: expected JSON, got {error}. Correct it."
            raise ValueError(msg) from error
        told = content if isinstance(content, dict) else {}
        prompts = {name: from_json(each, f"{path}: {name}") for name, each in told.items()}
        if not any(prompts.values()):
            got = f"a {type(content).__name__}" if content and not told else "none"
            msg = (
                f"{path} holds no prompts: expected an object with prompts by the names of images, got {got}. "
                'Write {"a.png": [{"click": [row, column]}], …}.'
            )
            raise ValueError(msg)
        return cls(path.name, prompts)

    def of_images(self, images: Sequence[ImagePair]) -> tuple[dict[str, Prompts], list[str]]:
        """Find the prompts about each image, by its name below its folder or, if that is clear, by less or more of it.

        A name may lack folders or the suffix, or have folders above that of the images.

        Args:
            images: The images.

        Returns:
            Prompts by the name of the image, and notes on those that are about none of them.

        Raises:
            ValueError: If none is about any of the images, a name means several, or several mean one image.
        """
        found: dict[str, tuple[str, Prompts]] = {}
        idle = []
        for name, prompts in self.prompts.items():
            meant = [pair.name for pair in images if pair.name == name]
            meant = meant or _called(name, [pair.name for pair in images])
            if len(meant) > 1:
                msg = f"{self.name}: {name} is not clear: expected one image, got {listed(meant)}. Name the folder too."
                raise ValueError(msg)
            if not meant:
                idle.append(name)
            elif prompts and found.setdefault(meant[0], (name, prompts))[0] != name:
                both = listed([found[meant[0]][0], name])
                msg = f"{self.name} says something twice: expected one name for {meant[0]}, got {both}. Join the two."
                raise ValueError(msg)
        if self.prompts and len(idle) == len(self.prompts):
            names = listed([pair.name for pair in images])
            msg = (
                f"{self.name} is about none of the images: expected names such as {names}, got {listed(idle)}. Rename."
            )
            raise ValueError(msg)
        unused = f"{self.name}: {with_noun(len(idle), 'name is', 'names are')} of no image to segment: {listed(idle)}."
        return {image: prompts for image, (_, prompts) in found.items()}, [unused] if idle else []


class _SaidTwice(ValueError):
    """Name that stands twice in an object, of which JSON would keep the last without a word."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of names and values, each name once."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _SaidTwice(repr(name))
        found[name] = value
    return found


def _called(name: str, images: Sequence[str]) -> list[str]:
    """Find the images that a name means: those with which it has most folders in common."""
    shared = {image: _shared(image, name) for image in images}
    most = max(shared.values(), default=0)
    return [image for image, parts in shared.items() if parts == most > 0]


def _shared(image: str, name: str) -> int:
    """Number of parts of the shorter path if it is the end of the longer, else 0.

    The image has its suffix or none, and letters are compared in any form.
    """
    texts = [normalize("NFC", each.replace("\\", "/")) for each in (image, formats.stem(image), name)]
    *known, asked = [PurePosixPath(each).parts for each in texts]
    counts = [(each, min(len(each), len(asked))) for each in known]
    return max(count if each[-count:] == asked[-count:] else 0 for each, count in counts)


def seek_prompted(
    segmenter: Segmenter, images: Sequence[ImagePair], prompts: Mapping[str, Prompts], classes: Mapping[int, str]
) -> tuple[list[ImagePair], list[str]]:
    """Prepare to segment those images of a folder that have prompts, without any example.

    Args:
        segmenter: Segmenter without examples.
        images: The images of the folder, by which their preparation is chosen.
        prompts: Prompts by the names of images.
        classes: Names of label values; others that prompts name are called by their value.

    Returns:
        The images that have prompts, and a note on the others.

    Raises:
        ValueError: If none has any.
        OSError: If no image can be read.
    """
    sample, error = read_sample(images, segmenter.channel, segmenter.level)
    if error and not sample:
        raise error
    segmenter.seek(sample, sought(prompts.values(), classes))
    left = [pair for pair in images if pair.name in prompts]
    bare = with_noun(len(images) - len(left), "image has", "images have")
    return left, [f"{bare} no prompts, and without labelled images no mask."] if len(left) < len(images) else []


def check_classes(name: str, prompts: Mapping[str, Prompts], classes: Mapping[int, str]) -> None:
    """Make sure that prompts are about known classes.

    Args:
        name: Name of the file of prompts.
        prompts: Prompts by the names of images.
        classes: Names of the classes by label value.

    Raises:
        ValueError: If a prompt names another.
    """
    for image, each in prompts.items():
        if unknown := [label for label in each.labels if label not in classes]:
            msg = (
                f"{name}: {image} names an unknown class: expected label to be {', '.join(map(str, classes))}, got "
                f"{unknown[0]}. Correct it, or add a labelled image that shows the class."
            )
            raise ValueError(msg)
