"""Reports of finished runs: one page of HTML that needs nothing else, or tables in Markdown, CSV and LaTeX."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.analysis.subgroups import Attribute, SubgroupTable, groupings, read_attributes, tabulate
from benchmarks.reports.gather import Results, gather
from benchmarks.reports.page import render
from benchmarks.reports.pictures import Shown, draw_examples
from benchmarks.reports.tables import FORMATS
from megamed import Collection
from megamed.files import claimed_file, replace_file

__all__ = ["FORMATS", "Results", "Shown", "gather", "html", "subgroups", "write_report"]


def write_report(
    folders: Sequence[Path],
    form: str = "html",
    out: Path | None = None,
    shown: Shown | None = None,
    attributes: Path | None = None,
) -> str | Path:
    """Report the runs in some folders.

    Args:
        folders: Result folders of `incontext-bench run`, of one benchmark.
        form: Format of the report: `html`, or one of `FORMATS`.
        out: File to write; by default `report.html` in the first folder, and none for the other formats.
        shown: Options of the pictures of queries on an HTML page; without them there are none.
        attributes: CSV table of subject attributes, by which an HTML page groups scores.

    Returns:
        The path of the file, or the text of the report if no file is written.

    Raises:
        ValueError: If `gather` or `html` refuses the runs, or the file is somebody's own.
    """
    if form == "html":
        text = html(folders, shown, None if attributes is None else read_attributes(attributes))
        out = out or folders[0] / "report.html"
    else:
        text = FORMATS[form](gather(folders))
    if out is None:
        return text
    with claimed_file(out, "report"):
        replace_file(out, text)
    return out


def html(folders: Sequence[Path], shown: Shown | None = None, attributes: Mapping[str, Attribute] | None = None) -> str:
    """Write a page about the runs in some folders.

    Args:
        folders: Result folders of `incontext-bench run`, of one benchmark.
        shown: Options of the pictures of queries; without them there are none.
        attributes: Attributes of the subjects, by name, to group scores by.

    Raises:
        ValueError: If there is no run, the runs are of several benchmarks, or the collection is another one.
    """
    results = gather(folders)
    collection = None if shown is None else Collection(shown.collection)
    examples = None if shown is None else draw_examples(results, shown)
    return render(results, subgroups(results, collection, attributes), examples)


def subgroups(
    results: Results, collection: Collection | None = None, attributes: Mapping[str, Attribute] | None = None
) -> list[SubgroupTable]:
    """Score by size, over all tasks and within each, modality, anatomy if a collection is given, and attributes.

    Tables of one group are left out.
    """
    rows, seed = results.main.rows, results.settings["seed"]
    names = ["size", "size-in-task", "modality", *(["anatomy"] if collection is not None else []), *(attributes or {})]
    found = groupings(names, rows, collection, attributes)
    tables = [tabulate(name, grouping, rows, results.ranking, seed) for name, grouping in found.items()]
    return [table for table in tables if len(table.groups) > 1]
