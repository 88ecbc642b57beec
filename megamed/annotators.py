"""Meaning of the names of annotators: whose work it is, with which tool, and whether it is what all agreed on."""

import re

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
