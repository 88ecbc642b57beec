"""Removal of a class: what is drawn of it in any image is erased or becomes another class, and can be taken back."""

from typing import NamedTuple

import numpy as np

from incontext.page.live import Live
from incontext.page.store import AnnotatedFolder
from megamed.failures import Attempt
from megamed.unknown import UNKNOWN


class ClassUse(NamedTuple):
    """Images in which a class is drawn, those of them that are examples, and whether an example shows another class."""

    drawn: list[int]
    accepted: list[int]
    shows_others: bool


def find_uses(folder: AnnotatedFolder, live: Live, value: int) -> ClassUse:
    """Find the images in which a class is drawn; those that cannot be read are left as they are.

    Raises:
        ValueError: If there is no such class.
    """
    _check(folder, value)
    found = ClassUse([], [], shows_others=False)
    for index, image in enumerate(folder.images):
        with Attempt(), live.lock:
            if image.state == "bare":
                continue
            shown = {*np.unique(folder.open(index).drawing.planes).tolist()}
            if value in shown:
                found.drawn.append(index)
            if image.state == "accepted":
                found = found._replace(shows_others=found.shows_others or bool(shown - {0, value, UNKNOWN}))
                if value in shown:
                    found.accepted.append(index)
    return found


def remove_class(folder: AnnotatedFolder, live: Live, value: int, into: int | None) -> None:
    """Remove a class, and what is drawn of it.

    In each image that is a step which undo takes back, and with it the class comes back. Labels are written anew; if no
    label shows anything then, they are kept in the hidden folder, and their images are no examples any more.

    Args:
        folder: The folder.
        live: What is predicted in it.
        value: Value of the class.
        into: Value that its pixels take: of another class, or 0 to erase them; None if there are to be none.

    Raises:
        ValueError: If it is no class, the only one or one that is predicted anyway; or it is drawn, and `into` is None
            or no other class.
        OSError: If the system refuses to keep a step.
    """
    uses = find_uses(folder, live, value)
    name = folder.classes[value].name
    if uses.drawn and into is None:
        msg = (
            f"class {name} is drawn in {len(uses.drawn)} images, {len(uses.accepted)} of them accepted: expected the "
            "class that its pixels take, or 0 to erase them, got none. Say which."
        )
        raise ValueError(msg)
    if into and (into == value or into not in folder.classes):
        msg = f"pixels cannot take value {into}: expected that of another class, or 0 to erase them. Choose one."
        raise ValueError(msg)
    for index in uses.drawn:
        with live.lock:
            folder.open(index).drawing.revalue(value, into or 0)
            folder.noticed(index)
            if index in uses.accepted and (into or uses.shows_others):
                folder.accept(index)
            elif index in uses.accepted:
                folder.take_label(index)
    with live.lock:
        folder.remove_class(value)
        live.class_removed(value, into or 0)


def _check(folder: AnnotatedFolder, value: int) -> None:
    if value not in folder.classes:
        msg = f"class is unknown: expected one of {', '.join(map(str, folder.classes))}, got {value}. Reload the page."
        raise ValueError(msg)
    name = folder.classes[value].name
    if value in folder.given:
        msg = f"class {name} is one of the task or of the results: it would be found again. Hide it instead."
        raise ValueError(msg)
    if len(folder.classes) == 1:
        msg = f"class {name} is the only one: expected another beside it, got none. Rename it, or add one before."
        raise ValueError(msg)
