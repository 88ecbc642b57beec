"""`incontext-bench submit` and `incontext-bench leaderboard`: their options, and what they print."""

from pathlib import Path
from typing import Annotated

import typer

from megamed.failures import one_line

SIGNING_KEY = Path("~/.ssh/id_ed25519")


def submit(
    folder: Annotated[Path, typer.Argument(help="Result folder of `incontext-bench run --list`.")],
    frozen_list: Annotated[Path, typer.Option("--list", help="Frozen list that the run scored.")],
    name: Annotated[str, typer.Option(help="Name on the leaderboard.")],
    predictor: Annotated[
        str | None, typer.Option(help="Predictor of the run to enter.", show_default="the only one")
    ] = None,
    by: Annotated[str, typer.Option(help="People or group who enter it.")] = "",
    link: Annotated[str, typer.Option(help="Address of a paper or of code.")] = "",
    note: Annotated[str, typer.Option(help="What it is, in a sentence.")] = "",
    trained_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of a dataset that it was trained on, or `nothing`; repeatable.",
            show_default="what the weights file says",
        ),
    ] = None,
    key: Annotated[Path, typer.Option(help="Private Ed25519 key of OpenSSH to sign with.")] = SIGNING_KEY,
    out: Annotated[Path | None, typer.Option(help="Submission to write.", show_default="NAME.json")] = None,
) -> None:
    """Write what a predictor scored on a frozen list as an entry of a leaderboard, hashed and signed."""
    from benchmarks.board.entry import about_of, make_entry, rows_of, write_entry
    from benchmarks.board.names import file_name
    from benchmarks.board.signature import fingerprint, is_encrypted, read_private_key
    from benchmarks.board.verification import Candidate, check_list
    from benchmarks.plans.frozen_lists import read_list

    about = about_of(name=name, by=by, link=link, note=note, trained_on=trained_on)
    path = key.expanduser()
    passphrase = typer.prompt(f"Passphrase of {path}", hide_input=True) if is_encrypted(path) else None
    frozen, out = read_list(frozen_list), out or Path(file_name(name))
    made = make_entry(folder, frozen, predictor, about)
    check_list(Candidate(folder, made, tuple(rows_of(folder, made))), frozen)
    entry = made.sealed(read_private_key(path, passphrase))
    write_entry(out, entry)
    told = f"{entry.predictions} predictions of list {entry.list_sha256[:16]}, signed {fingerprint(entry.key)}"
    typer.echo(f"{out}: {told}")


def leaderboard(
    folder: Annotated[Path, typer.Argument(help="Folder of entries, as `incontext-bench submit` writes them.")],
    frozen_list: Annotated[
        Path | None, typer.Option("--list", help="Frozen list that all are of.", show_default="list.json in the folder")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="File of the public keys that may sign, `ssh-ed25519 AAAA… whose` in each line.",
            show_default="keys in the folder; any key without it",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Page to write.", show_default="leaderboard.html in the folder")
    ] = None,
) -> None:
    """Verify the entries in a folder, and rank them on one self-contained HTML page.

    Refused entries are named with the reason, here and on the page.
    Exit status: 0; 3 if an entry was refused; 1 or 2 if there is no page.
    """
    from benchmarks.board.leaderboard import make_leaderboard

    page, board = make_leaderboard(folder, frozen_list, keys, out)
    for reason in board.refused.values():
        typer.echo(one_line(f"refused: {reason}"), err=True)
    typer.echo(f"{page}: {len(board.entries)} entries")
    if board.refused:
        raise typer.Exit(3)
