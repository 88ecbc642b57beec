"""Options that several commands of `incontext-bench` share."""

from pathlib import Path
from typing import Annotated

import typer

Built = Annotated[Path, typer.Option(help="Folder of a collection, as `megamed build` writes it.")]
Suite = Annotated[str, typer.Option(help="Name of a suite of tasks, one of `incontext-bench list suites`.")]
Draws = Annotated[int, typer.Option(help="Number of support sets drawn per query.")]
Queries = Annotated[int, typer.Option(help="Maximum number of query images per task, spread over its subjects.")]
Seed = Annotated[int, typer.Option(help="Seed of the choice of queries and supports, and of the bootstrap.")]
QuerySubjects = Annotated[
    str, typer.Option(help="Subjects that may be queries: all, or test, with supports from the other splits alone.")
]
Ensemble = Annotated[
    int,
    typer.Option(help="Number of support sets of a query whose averaged probabilities are scored, too; 1 for none."),
]
Supports = Annotated[
    str,
    typer.Option(
        help="Support sets of a task: per-query, one for each query; or shared, one for all queries, as if labelled "
        "once (needs --query-subjects test)."
    ),
]
Absent = Annotated[
    int,
    typer.Option(help="Maximum number of further queries per task that lack the structure, to count false alarms."),
]
Device = Annotated[str | None, typer.Option(help="Torch device to compute on.", show_default="cuda if available")]
BatchSize = Annotated[
    int | None, typer.Option(help="Number of queries per forward pass.", show_default="1, or as many as a GPU holds")
]
MemoryBudget = Annotated[
    float | None,
    typer.Option(help="Memory budget of each process, in GB.", show_default="half of what is free, 4/5 on a GPU"),
]
Weights = Annotated[str, typer.Option(help="Network: `default`, `open` or a weights file.")]
Workers = Annotated[
    int | None, typer.Option(help="Number of worker processes.", show_default="one per GPU, or per core if that pays")
]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler whose workers to use, such as tcp://10.0.0.1:8786.")
]
Attributes = Annotated[
    Path | None, typer.Option(help="CSV table of subject attributes: columns dataset, subject, sex, age, ...")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
