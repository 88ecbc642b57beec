"""Reports of finished runs: one page of HTML that needs nothing else, or tables in Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.reports.gather import Results, gather
from benchmarks.reports.page import render
from benchmarks.reports.pictures import Shown, draw_examples
from benchmarks.reports.tables import FORMATS
from benchmarks.subgroups import SubgroupTable, by_anatomy, by_modality, by_size, tabulate
from megamed import Collection

__all__ = ["FORMATS", "Results", "Shown", "gather", "html", "subgroups"]


def html(folders: Sequence[Path], shown: Shown | None = None) -> str:
    """Write a page about the runs in some folders.

    Args:
        folders: Result folders of `incontext-bench run`, of one benchmark.
        shown: Where pictures of queries come from; without it there are none.

    Raises:
        ValueError: If there is no run, the runs are of several benchmarks, or the collection is another one.
    """
    results = gather(folders)
    collection = None if shown is None else Collection(shown.collection)
    examples = None if shown is None else draw_examples(results, shown)
    return render(results, subgroups(results, collection), examples)


def subgroups(results: Results, collection: Collection | None = None) -> list[SubgroupTable]:
    """Scores by object size and modality, and by anatomy if a collection tells it; without those of one group."""
    rows, seed = results.main.rows, results.settings["seed"]
    groupings = {"object size": by_size(rows), "modality": by_modality}
    if collection is not None:
        groupings["anatomy"] = by_anatomy(collection)
    tables = [tabulate(name, grouping, rows, results.ranking, seed) for name, grouping in groupings.items()]
    return [table for table in tables if len(table.groups) > 1]
