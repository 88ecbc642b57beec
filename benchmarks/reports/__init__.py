"""Reports of finished runs: one page of HTML that needs nothing else, or tables in Markdown, CSV and LaTeX."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.analysis.subgroups import Attribute, SubgroupTable, groupings, tabulate
from benchmarks.reports.gather import Results, gather
from benchmarks.reports.page import render
from benchmarks.reports.pictures import Shown, draw_examples
from benchmarks.reports.tables import FORMATS
from megamed import Collection

__all__ = ["FORMATS", "Results", "Shown", "gather", "html", "subgroups"]


def html(folders: Sequence[Path], shown: Shown | None = None, attributes: Mapping[str, Attribute] | None = None) -> str:
    """Write a page about the runs in some folders.

    Args:
        folders: Result folders of `incontext-bench run`, of one benchmark.
        shown: Where pictures of queries come from; without it there are none.
        attributes: What is known of the subjects, by name.

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
    """Scores by object size, modality, anatomy if a collection tells it, and attributes; without those of one group."""
    rows, seed = results.main.rows, results.settings["seed"]
    names = ["size", "modality", *(["anatomy"] if collection is not None else []), *(attributes or {})]
    found = groupings(names, rows, collection, attributes)
    tables = [tabulate(name, grouping, rows, results.ranking, seed) for name, grouping in found.items()]
    return [table for table in tables if len(table.groups) > 1]
