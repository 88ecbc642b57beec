"""Files of annotation tools in a folder, and the images that they annotate, by the names that they state."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self

from megamed import formats
from megamed.annotation_tools.drawn import Likeness, likeness, read_file, stems, tool_of
from megamed.annotation_tools.tools import TOOLS
from megamed.annotation_tools.volume_slices import slice_number
from megamed.annotation_tools.yolo import NAME_LISTS
from megamed.class_names import name_key
from megamed.failures import Attempt
from megamed.file_names import NamedFile, take_apart

SUFFIXES = tuple({suffix for tool in TOOLS.values() for suffix in tool.suffixes})
ROI_MARK = re.compile(r"^RoiSet[-_. ]+|[-_. ]+RoiSet$", re.IGNORECASE)
SHOWN = 3
"""Number of files that a message names."""


@dataclass(frozen=True)
class ToolFiles:
    """Files of annotation tools in a folder."""

    folder: Path
    beside: tuple[NamedFile, ...] = ()
    """Files for one image each, which are called as it."""
    common: tuple[Path, ...] = ()
    """Files for many images, whose names they state."""
    damaged: tuple[NamedFile, ...] = ()
    """Files that no tool can read, though their endings are those of tools."""

    @classmethod
    def among(cls, folder: Path, paths: Iterable[PurePosixPath]) -> Self:
        """Find out which files of a folder a tool wrote; others are passed over."""
        beside: list[NamedFile] = []
        damaged: list[NamedFile] = []
        common: list[Path] = []
        for path in paths:
            if not path.name.lower().endswith(SUFFIXES) or path.name in NAME_LISTS:
                continue
            found = tool_of(folder / path)
            if found and found.many_images:
                common.append(folder / path)
            else:
                named = NamedFile(path, replace(take_apart(_bare(path)), is_label=True))
                (beside if found else damaged).append(named)
        return cls(folder, tuple(beside), tuple(common), tuple(damaged))

    def title(self, file: NamedFile) -> str:
        """Name the tool that wrote a file."""
        found = tool_of(self.folder / file.path)
        return found.title if found else ""

    def classes(self, file: NamedFile) -> frozenset[str] | None:
        """Return what the classes of a file are called, however it is spelt; None if the file's own name may say it.

        One that cannot be read has none; what is wrong with it is told when its label is read.
        """
        found = tool_of(self.folder / file.path)
        if not found or not found.names_classes:
            return None
        try:
            return frozenset(map(name_key, read_file(self.folder / file.path).classes.values()))
        except (ValueError, OSError):
            return frozenset()

    def owners(
        self, images: Sequence[Path], taken: Mapping[Path, Path], orphans: Sequence[NamedFile]
    ) -> tuple[dict[Path, tuple[Path, ...]], list[str]]:
        """Find the file that annotates each image, by the names of images that files state; of a volume all files.

        Of a DICOM series they state names of its slices.

        Args:
            images: All images.
            taken: Labels of the images that have another.
            orphans: Files for one image that no image is called as: some state its name.

        Returns:
            The files of each image that is mentioned, and notes on mentions that were not used.

        Raises:
            ValueError: If a file is damaged, or means any of several images.
        """
        by_stem = defaultdict(set)
        for image in images:
            for each in stems(image.name):
                by_stem[each].add(image)
        series = [image for image in images if formats.is_series(image)] if self.common or orphans else []
        for image in series:
            with Attempt():  # what is wrong with it is told when it is read
                for each in (stem for file in formats.source_at(image).files for stem in stems(file.name)):
                    by_stem[each].add(image)
        volumes = [image for image in images if is_volume_file(image)]
        found = {image: (path,) for image, path in taken.items()}
        open_to_more = {*volumes, *series} - taken.keys()
        notes = []
        for path in (*self.common, *(self.folder / orphan.path for orphan in orphans)):
            mentioned = _mentioned(path, by_stem, volumes)
            if mentioned == {path.stem: None} and tool_of(path) is TOOLS["imagej"]:  # whose files state no image
                if len(images) > 1:
                    fix = f"call it as its image, such as {images[0].stem}_RoiSet.zip"
                    notes.append(f"{path.name} does not tell which of {len(images)} images it is for: {fix}.")
                    continue
                mentioned = {path.stem: images[0]}
            twice = [image for image in mentioned.values() if image in found.keys() - open_to_more]
            absent = [name for name, image in mentioned.items() if image is None]
            if twice:
                which = f"such as {twice[0].name}, whose is {found[twice[0]][0].name}"
                notes.append(f"{path.name} is left out for {len(twice)} images that have another label, {which}.")
            if absent:
                notes.append(f"{path.name} mentions {len(absent)} images that have no file, such as {absent[0]}.")
            for image in dict.fromkeys(filter(None, mentioned.values())):
                if image not in found or image in open_to_more:
                    found[image] = (*found.get(image, ()), path)
        return {image: paths for image, paths in found.items() if image not in taken}, notes


def not_annotated_yet(owners: Mapping[Path, Sequence[Path]]) -> tuple[set[Path], list[str]]:
    """Find the images that nobody has come to yet: tools list all images of a project, drawn on or not.

    So are those on which nothing is drawn, where these are most of a file's images; fewer lack the structure.

    Args:
        owners: The files of each image.

    Returns:
        The images, and a note for each file.
    """
    images_of: dict[Path, list[Path]] = defaultdict(list)
    for image, paths in owners.items():
        if len(paths) == 1:
            images_of[paths[0]].append(image)
    found: set[Path] = set()
    notes = []
    for path, images in images_of.items():
        entries = {image: read_file(path).entries(image) for image in images}
        undrawn = [each for each, said in entries.items() if said and not any(e.shapes or e.unknown for e in said)]
        if len(images) / 2 < len(undrawn) < len(images):
            notes.append(
                f"{path.name} draws nothing on {len(undrawn)} of {len(images)} images, such as {undrawn[0].name}: they "
                "are taken for not annotated yet. Give an empty mask to those that lack the structure."
            )
            found |= {*undrawn}
    return found, notes


def named_file(folder: Path, name: str) -> ToolFiles | None:
    """Take the one file that a user names, by its path in the folder or from here; None for a template.

    Raises:
        ValueError: If there is no such file, or no tool wrote it.
    """
    if "{case}" in name:
        return None
    path = next((each for each in (folder / name, Path(name)) if each.is_file()), None)
    if path is None:
        msg = f"labels are not found: expected a path with {{case}} or an annotation tool's file, got {name!r}."
        raise ValueError(msg)
    read_file(path)
    return ToolFiles(folder, common=(path,))


def _bare(path: PurePosixPath) -> PurePosixPath:
    """Return the path that a file would have as an image: `a.json`, `a.png.json` and `a_RoiSet.zip` are of a."""
    suffix = max((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), key=len)
    name = formats.stem(path.name[: -len(suffix)])
    return path.with_name((ROI_MARK.sub("", name) or name) + formats.image_suffixes()[0])


def is_volume_file(image: Path) -> bool:
    """Whether an image is a file of a volume, of which a tool for pictures shows slices."""
    found = formats.format_of(image)
    return found is not None and "placed" in found.holds


def _mentioned(path: Path, by_stem: Mapping[str, set[Path]], volumes: Sequence[Path]) -> dict[str, Path | None]:
    """Find the image that a file means by each of its names, or the volume of which they name a slice."""
    named = {
        name: [image for stem in stems(name) for image in by_stem.get(stem, ())] for name in read_file(path).file_names
    }
    return {
        name: _meant(path, name, images or [each for each in volumes if slice_number(name, each) is not None])
        for name, images in named.items()
    }


def _meant(path: Path, name: str, images: Sequence[Path]) -> Path | None:
    """Choose the image whose path is most like a name; of several the one that lies nearest to the file."""
    ranked: dict[tuple[Likeness, int, bool], set[Path]] = defaultdict(set)
    for image in images:
        near = len({*path.parent.parts} & {*image.parts})
        is_split = image.parent.name.casefold() in path.stem.casefold()
        ranked[likeness(name, image), near, is_split].add(image)
    best = sorted(ranked[max(ranked)]) if ranked else []
    if len(best) > 1:
        msg = (
            f"{path.name} mentions {name}, which may be any of several images: expected one, got "
            f"{', '.join(map(str, best[:SHOWN]))}. Put the file into the folder of its images."
        )
        raise ValueError(msg)
    return best[0] if best else None
