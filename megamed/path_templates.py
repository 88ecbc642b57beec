"""Paths of images and labels that a user describes by templates, where names do not tell which belong together."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from megamed.file_names import FileName, NamedFile


@dataclass(frozen=True)
class Templates:
    """Paths of images and labels below their folder, without suffixes, as in `FileRules`.

    `{case}` stands for the case name, `{class}` for that of a class, `*` for anything within a name. The one file in
    which an annotation tool saved the labels of all images may stand for the template of labels.
    """

    image: str = "images/{case}"
    label: str = "labels/{case}"

    def elsewhere(self, folder: Path) -> "Templates":
        """Return the templates for another folder, which may lack the file of all labels."""
        is_here = "{case}" in self.label or any(path.is_file() for path in (folder / self.label, Path(self.label)))
        return self if is_here else Templates(self.image)


def read_templates(images: str | None, labels: str | None) -> Templates | None:
    """Complete the templates of a user, who may give one of them; None if there is none."""
    given = {"image": images, "label": labels}
    return Templates(**{name: value for name, value in given.items() if value}) if any(given.values()) else None


def by_templates(
    files: Sequence[PurePosixPath], templates: Templates, beside: Sequence[NamedFile]
) -> tuple[list[NamedFile], list[NamedFile], list[str]]:
    """Tell images from labels by the templates of a user; files of annotation tools beside images are labels alone."""
    from megamed.layouts.folder import template_pattern

    image_pattern, label_pattern = (template_pattern(each, {}) for each in (templates.image, templates.label))
    images, labels = [], []
    data = set(files)
    for path in (*files, *(each.path for each in beside)):
        text = unicodedata.normalize("NFC", path.as_posix())
        if match := label_pattern.fullmatch(text):
            class_name = match.groupdict().get("class_") or ""
            folders = (class_name,) if class_name else ()
            labels.append(NamedFile(path, FileName(folders, "", match["case"], "", True)))
        elif path in data and (match := image_pattern.fullmatch(text)):
            images.append(NamedFile(path, FileName((), "", match["case"], "", False)))
    return images, labels, []
