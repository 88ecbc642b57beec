"""Every figure of README and docs, made anew: a table of commands, what each printed, and one page of it all."""

import io
import platform
import shlex
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from importlib.metadata import version
from os import cpu_count
from pathlib import Path

from benchmarks.evidence.sample import sampled
from megamed.executors import local_executor, telling_of_death
from megamed.files import claimed, read_json, replace_file, sha256_of, write_json
from megamed.manifest import NAME
from megamed.source_tree import source_commit

PROGRAM = "incontext-bench"
PAGE_NAME, DONE_NAME, PRINTED_NAME, LOG_NAME = "evidence.md", "done.json", "printed.txt", "log.txt"
FOLDERS = {
    "collection": "collection",
    "annotated": "annotated",
    "films": "films",
    "datasets": "data",
    "acdc_scribbles": "scribbles",
}
"""Options of the command by the words that stand for their folders in commands."""
SAMPLED = ("collection", "annotated")
"""Folders of which short runs see a few datasets."""
WITHOUT_OUT = ("speed",)
"""Commands that write no folder."""
Invoke = Callable[[Sequence[str]], int]
"""Function that calls `incontext-bench` with some words, and returns its exit status."""


@dataclass(frozen=True)
class Figure:
    """Figures that one command makes, and where they are told."""

    name: str
    told: str
    command: str
    """The command as README or docs state it."""
    quick: str = ""
    """Options that make a short run of the command, or the whole command of a short run."""
    alone: bool = False
    """Whether it tells times, and is made while no other figure is."""

    def words(self, given: Mapping[str, Path | None], quick: bool) -> list[str]:
        """Words of the command after the program's name, with the folders that are given.

        Raises:
            LookupError: If a folder is not given; the message names its option.
        """
        short = shlex.split(self.quick) if quick else []
        words = short[1:] if short[:1] == [PROGRAM] else [*shlex.split(self.command)[1:], *short]
        missing = [FOLDERS[word] for word in words if word in FOLDERS and given.get(FOLDERS[word]) is None]
        if missing:
            msg = f"--{missing[0]} is not given"
            raise LookupError(msg)
        return [str(given[FOLDERS[word]]) if word in FOLDERS else word for word in words]


@dataclass(frozen=True)
class MadeFigure:
    """Outcome of a command, and what it was made by."""

    words: list[str]
    status: int
    seconds: float
    commit: str
    collection_sha256: str
    machine: str

    @classmethod
    def read(cls, folder: Path) -> "MadeFigure | None":
        """Read the outcome that a folder holds, if there is one."""
        if not (folder / DONE_NAME).is_file():
            return None
        known = read_json(folder / DONE_NAME, "Delete it, and the same command makes the figure anew.")
        return cls(**known)


@dataclass(frozen=True)
class Making:
    """Folders, function and processes by which figures are made."""

    given: Mapping[str, Path | None]
    """Folders by the options that name them: the values of `FOLDERS`."""
    invoke: Invoke
    """Function that calls `incontext-bench`; more than one worker must be able to import it."""
    quick: bool = False
    """Whether each is a short run on a few small datasets, which shows that it works and not what it tells."""
    workers: int | None = 1
    """Number of figures that are made at the same time, each in a process of its own; by default one per core."""
    told: Callable[[str], object] = str
    """Function that is told what is done next."""


@cache
def figures() -> dict[str, Figure]:
    """All figures by name, as `figures.toml` lists them."""
    text = (resources.files("benchmarks.evidence") / "figures.toml").read_text(encoding="utf-8")
    return {name: Figure(name, **facts) for name, facts in tomllib.loads(text).items()}


def remake(out: Path, making: Making, only: Iterable[str] = ()) -> dict[str, int | str]:
    """Make figures anew into a folder each, and write `evidence.md`, which shows them all; a second call goes on.

    Args:
        out: Folder to write to.
        making: Folders, function and processes by which they are made.
        only: Names of the figures; by default all.

    Returns:
        Exit status of each figure's command, or the reason why it was not called.

    Raises:
        ValueError: If there is no such figure, or the folder holds files of others.
        OSError: If a process dies.
    """
    names = list(only) or list(figures())
    if strange := [name for name in names if name not in figures()]:
        msg = f"Unknown figure: expected one of {', '.join(figures())}, got {strange[0]!r}."
        raise ValueError(msg)
    outcomes: dict[str, int | str] = {}
    with claimed(out, "evidence", (PAGE_NAME,)):
        if making.quick:
            making = replace(making, given=_small(making.given, out))
        asked: dict[str, list[str]] = {}
        for name in names:
            try:
                asked[name] = figures()[name].words(making.given, making.quick)
            except LookupError as error:
                outcomes[name] = str(error)
        replace_file(out / PAGE_NAME, page(out, making.quick, outcomes))
        for name, done in _all_made(out, asked, making):
            outcomes[name] = done.status
            making.told(f"{len(outcomes)} of {len(names)}: {name}, {done.seconds:.0f} s")
            outcomes = {each: outcomes[each] for each in names if each in outcomes}
            replace_file(out / PAGE_NAME, page(out, making.quick, outcomes))
    return outcomes


def _small(given: Mapping[str, Path | None], out: Path) -> Mapping[str, Path | None]:
    """Let small parts of collections take their places."""
    scribbles = given.get("scribbles")
    needed = [read_json(scribbles / "meta.json", "Name another folder.")["of_dataset"]] if scribbles else []
    whole = {option: path for option in SAMPLED if (path := given.get(option)) is not None}
    return {**given, **{option: sampled(path, out / option, needed) for option, path in whole.items()}}


def _all_made(out: Path, asked: Mapping[str, list[str]], making: Making) -> Iterator[tuple[str, MadeFigure]]:
    """Make figures as they come: those that may be made at the same time, then the others one by one."""
    together = [name for name in asked if making.quick or not figures()[name].alone] if making.workers != 1 else []
    with telling_of_death(), local_executor(making.workers) as executor:
        futures = {
            executor.submit(made, out / name, asked[name], making.invoke, logged=True): name for name in together
        }
        yield from ((futures[future], future.result()) for future in as_completed(futures))
    for name in asked:
        if name not in together:
            making.told(f"{name}: {PROGRAM} {shlex.join(asked[name])}")
            yield name, made(out / name, asked[name], making.invoke)


def made(folder: Path, words: list[str], invoke: Invoke, logged: bool = False) -> MadeFigure:
    """Read the outcome of a command that succeeded before, or call it and keep what it prints, and its log if asked."""
    known = MadeFigure.read(folder)
    if known is not None and known.words == words and known.status == 0:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    start, printed = time.perf_counter(), io.StringIO()
    results = [] if words[0] in WITHOUT_OUT else ["--out", str(folder / "results")]
    with ExitStack() as stack:
        if logged:
            stack.enter_context(redirect_stderr(stack.enter_context((folder / LOG_NAME).open("w", encoding="utf-8"))))
        stack.enter_context(redirect_stdout(printed))
        status = invoke([*words, *results])
    replace_file(folder / PRINTED_NAME, printed.getvalue())
    seconds = round(time.perf_counter() - start, 1)
    made_by = source_commit() or f"of version {version('incontext-seg')}"
    done = MadeFigure(words, status, seconds, made_by, collection_hash(words), machine())
    write_json(folder / DONE_NAME, asdict(done))
    return done


def page(out: Path, quick: bool, outcomes: Mapping[str, int | str]) -> str:
    """Write the page: what made each figure, what it printed, and its pictures."""
    parts = [
        "# Evidence",
        "Each figure of README and docs, by the command that makes it."
        + (" Short runs on a few datasets: they show that the commands work, and not what they tell." if quick else ""),
        f"Written on {datetime.now(UTC).date().isoformat()} by version {version('incontext-seg')}.",
    ]
    for name, outcome in outcomes.items():
        parts += [f"## {name}", f"Told in: {figures()[name].told}.", *_shown(out, name, outcome)]
    return "\n\n".join(parts) + "\n"


def _shown(out: Path, name: str, outcome: int | str) -> Iterator[str]:
    if isinstance(outcome, str):
        yield f"Not made: {outcome}."
        return
    folder = out / name
    done = MadeFigure.read(folder)
    assert done is not None  # its command was called
    yield f"```\nincontext-bench {shlex.join(done.words)}\n```"
    yield (
        f"{'Made' if done.status == 0 else f'Failed with exit status {done.status}'} in {done.seconds:.0f} s at commit "
        f"{done.commit}, on {done.machine}. Collection `{done.collection_sha256[:16] or 'none'}`."
    )
    printed = (folder / PRINTED_NAME).read_text(encoding="utf-8").strip()
    is_markdown = printed.startswith("# ")
    yield printed.replace("\n# ", "\n### ").removeprefix("# ") if is_markdown else f"```\n{printed}\n```"
    for picture in sorted((folder / "results").glob("*.png")):
        yield f"![{name}]({picture.relative_to(out).as_posix()})"


@cache
def machine() -> str:
    """Processor, number of its cores, system, and versions that decide figures and times."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    processor = platform.processor() or platform.machine()
    return f"{cpu_count()} cores {processor}, {platform.system()}, Python {platform.python_version()}, {packages}"


def collection_hash(words: Sequence[str]) -> str:
    """Hash of the manifest of the collection that the words of a command name; empty if they name none."""
    if "--collection" not in words:
        return ""
    return sha256_of(Path(words[words.index("--collection") + 1]) / NAME)
