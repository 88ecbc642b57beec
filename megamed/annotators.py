"""Meaning of the names of annotators: whose work it is, with which tool, and whether it is what all agreed on."""

import re
from collections.abc import Iterable

from megamed.layouts.cases import Case

CONSENSUS = re.compile(
    r"(?:gold|consensus|majority|fused|fusion|staple)(?:[-_ ]?(?:standard|labels?|vote|truth))?", re.I
)
"""Names in the place of an annotator's for what annotators agreed on."""
TOOL = re.compile(
    r"[-_ ](?:amira|cvat|fiji|imagej|itk-?snap|labelme|matlab|mitk|napari|photoshop|qupath|slicer|via)$", re.I
)
"""The tool that a label was drawn with, behind the name of the person who did."""


def person_of(annotator: str) -> str:
    """Name the person behind an annotator; one who drew with two tools is one person.

    >>> person_of("expert1_amira"), person_of("reader-2"), person_of("imagej")
    ('expert1', 'reader-2', 'imagej')
    """
    return TOOL.sub("", annotator)


def agreed_in(cases: Iterable[Case]) -> str | None:
    """Name of what annotators agreed on, the first in alphabetical order; None if no label of the cases has one."""
    names = {label.annotator for case in cases for label in case.labels}
    return min(filter(CONSENSUS.fullmatch, names), default=None)
