"""`incontext-bench evidence`: its options, and what it prints."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.options import Built

FAILED = 3


def evidence_of(invoke: Callable[[Sequence[str]], int]) -> Callable[..., None]:
    """Make the command, which calls others through a function that takes their words and returns their exit status."""

    def evidence(
        collection: Built,
        annotated: Annotated[
            Path | None, typer.Option(help="Collection of datasets that several people drew.", show_default=False)
        ] = None,
        films: Annotated[Path | None, typer.Option(help="Collection of films alone.")] = None,
        data: Annotated[Path | None, typer.Option(help="Folder of datasets with source files of volumes.")] = None,
        scribbles: Annotated[Path | None, typer.Option(help="Folder of scribbles that people drew.")] = None,
        only: Annotated[
            list[str] | None, typer.Option(help="Name of a figure to make; repeatable.", show_default="all")
        ] = None,
        quick: Annotated[
            bool,
            typer.Option(
                "--quick",
                help="Make short runs on a few small datasets, which show that it works and not what it tells.",
            ),
        ] = False,
        workers: Annotated[
            int | None,
            typer.Option(
                min=1,
                help="Number of figures that are made at the same time, those apart that tell times.",
                show_default="one per core",
            ),
        ] = None,
        out: Annotated[Path, typer.Option(help="Folder of the figures, from which an interrupted run resumes.")] = Path(
            "evidence"
        ),
    ) -> None:
        """Make every figure of README and docs anew, and one page that says by which commit, data and machine.

        The same command resumes an interrupted run. What needs a folder that is not given is left out and named.
        Exit status: 0; 3 if a figure failed or was left out; 1 or 2 if none was made.
        """
        from benchmarks.evidence.remake import PAGE_NAME, Making, remake

        given = {
            "collection": collection,
            "annotated": annotated,
            "films": films,
            "data": data,
            "scribbles": scribbles,
        }
        making = Making(given, invoke, quick, workers, lambda line: typer.echo(line, err=True))
        outcomes = remake(out, making, only or ())
        for name, outcome in outcomes.items():
            if outcome != 0:
                why = outcome if isinstance(outcome, str) else f"exit status {outcome}"
                typer.echo(f"{name} was not made: {why}", err=True)
        typer.echo(f"{out / PAGE_NAME}: {sum(each == 0 for each in outcomes.values())} of {len(outcomes)} figures")
        if any(each != 0 for each in outcomes.values()):
            raise typer.Exit(FAILED)

    return evidence
