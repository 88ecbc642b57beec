"""Summaries as tables for a terminal, and the progress of a run."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from benchmarks.analysis.summary import annotator_table, score_table, size_table

Piece = TypeVar("Piece")
PIPE_COLUMNS = 120
"""Width of tables in a pipe, where no terminal states one; the 80 columns that rich assumes are too few."""


def show(summaries: Mapping[int, dict[str, Any]], as_json: bool) -> None:
    """Print the summary of each support size as tables, or all as JSON, a list if there are several."""
    several = len(summaries) > 1
    if as_json:
        show_json(list(summaries.values()) if several else next(iter(summaries.values())))
    else:
        compared = [each["annotators"] for each in summaries.values() if "annotators" in each]
        tables = [*map(score_table, summaries.values()), *map(annotator_table, compared)]
        show_tables(*tables, *([size_table(summaries)] if several else []))


def show_json(value: object) -> None:
    """Print a value as indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def show_tables(*tables: Table) -> None:
    """Print tables as wide as the terminal, or `PIPE_COLUMNS` wide into a pipe, with every name as it is."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, markup=False, emoji=False)
    for table in tables:
        console.print(table)


def with_progress(batches: Iterable[list[Piece]], total: int) -> Iterator[list[Piece]]:
    """Pass batches of rows, or of other pieces, through; show on stderr how many are done and the time left."""
    columns = ("scoring", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("scoring", total=total)
        for rows in batches:
            yield rows
            progress.advance(bar, len(rows))
