"""The parts of the page put together: a folder that is open, what segments it, and what tells of both."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from incontext.folders.class_names import read_classes
from incontext.folders.segmenter_options import SegmenterOptions
from incontext.folders.user_folder import fit_folder
from incontext.images.channels import Channel
from incontext.page.folder_watch import FolderWatch
from incontext.page.live import Live
from incontext.page.results import SegmentedFolder
from incontext.page.state import Page
from incontext.page.store import opened
from incontext.page.target import PageOptions, keep_task
from incontext.segmenter import Segmenter

APART = "Classes of the task may overlap, but not on the page: where two are probable, the more probable one is drawn."

FINISHED = "The task holds no images: it segments as it did, and learns nothing from those that are accepted here."


@contextmanager
def assembled(folder: Path, options: PageOptions) -> Iterator[Page]:
    """Open a folder, begin to segment, and yield the page, until nobody needs it.

    Raises:
        NotADirectoryError: If it is no folder.
        ValueError: If it has no images, another process is at work there, or an option is malformed.
        OSError: If it cannot be read or written to.
    """
    results = SegmentedFolder(options.results) if options.results else None
    channel, level = options.channel, options.level
    if results:
        channel, level = channel or results.channel, results.level if level is None else level
    asked = SegmenterOptions(options.task, options.weights, channel=channel, level=level)
    task = asked.open() if options.task else None  # which may be of a channel or a level
    look: tuple[Channel, int | None] = (task.channel, task.level) if task else (channel, level)
    named = {**(results.classes if results else {}), **(task.fitted.names if task and task.has_examples else {})}
    with opened(folder, read_classes(options.classes), *look, named) as annotated:
        if options.task:
            keep_task(folder, options.task)
        if task and task.overlap:
            task.set_params(overlap=False)
            annotated.notes += (APART,)
        if task and task.has_examples and task.fitted.codes:
            annotated.notes += (FINISHED,)
        annotated.notes += (results.told(annotated),) if results else ()
        before = results.predictions if results else lambda _: ()

        def load() -> Segmenter:
            found = task or replace(asked, **vars(annotated.look)).open()
            if options.support and results:
                fit_folder(found.set_params(**results.reading), options.support, results.classes)
            return found

        live = Live(annotated, load, lambda images: page.news.post(images), before)
        page = Page(annotated, live)
        watch = FolderWatch(annotated, live, page.news.post)
        live.start()
        watch.start()
        try:
            yield page
        finally:
            watch.close()
            live.close()
