"""All figures of the pages have their command in the table, and the table makes them anew on a small collection."""

import json
import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.evidence.remake import DONE_NAME, Figure, Making, figures, remake
from megamed.files import sha256_of
from megamed.manifest import NAME
from tests.benchmarks.squares import build_squares

TOLD = (
    "docs/findings.md",
    "docs/heldout.md",
    "docs/architecture-study.md",
    "docs/tutorials/volumes.md",
    "incontext/networks/weights/MODEL_CARD.md",
    "README.md",
)
MAKES = ("run", "experiment", "volumes", "study", "speed")
EXAMPLES = ("--row", "--out", "--absent", "--list")
"""Options of commands that show how something is done, and state no figures."""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_squares(tmp_path_factory.mktemp("evidence"), "dev")


@pytest.mark.parametrize("page", TOLD)
def test_every_command_of_a_page_is_in_the_table(repository: Path, page: str) -> None:
    text = (repository / page).read_text()
    if page == "README.md":
        text = text[text.index("## How well it does") :]
    known = [shlex.split(figure.command) for figure in figures().values()]
    lines = [shlex.split(line) for line in re.findall(r"^incontext-bench .*$", text, re.MULTILINE)]
    stating = [words for words in lines if words[1] in MAKES and not {*words} & {*EXAMPLES} - {"--out"}]
    assert stating or page == "docs/architecture-study.md"
    for words in stating:
        assert without_out(words) in known, shlex.join(words)


def without_out(words: list[str]) -> list[str]:
    at = words.index("--out") if "--out" in words else len(words)
    return words[:at] + words[at + 2 :]


def test_folders_take_the_place_of_their_words() -> None:
    figure = Figure("a", "here", "incontext-bench run --collection collection --data datasets", "--draws 1")
    assert figure.words({"collection": Path("c"), "data": Path("d")}, quick=True) == [
        "run", "--collection", "c", "--data", "d", "--draws", "1"
    ]  # fmt: skip
    shorter = replace(figure, quick="incontext-bench run --collection collection")
    assert shorter.words({"collection": Path("c")}, quick=True) == ["run", "--collection", "c"]
    with pytest.raises(LookupError, match="--data is not given"):
        figure.words({"collection": Path("c"), "data": None}, quick=False)


def test_figures_are_made_once_and_told_with_what_made_them(collection: Path, tmp_path: Path) -> None:
    out = tmp_path / "evidence"
    asked = ["--quick", "--workers", "1", "--collection", str(collection), "--out", str(out)]
    for name in ("support-size", "scores", "sequences"):
        asked += ["--only", name]
    for _ in range(2):
        done = CliRunner().invoke(app, ["evidence", *asked])
        assert done.exit_code == 3
        assert f"{out / 'evidence.md'}: 1 of 3 figures" in done.stdout
        assert "sequences was not made: --films is not given" in done.stderr
        assert "scores was not made: exit status 1" in done.stderr
    text = (out / "evidence.md").read_text()
    assert "incontext-bench experiment support-size" in text
    assert re.search(r"Made in \d+ s at commit \S+, on \d+ cores", text)
    assert "Licences: squares (CC0)." in text
    assert re.search(r"Plans [0-9a-f]{16}", text)
    assert "![support-size](support-size/results/figure.png)" in text
    assert (out / "support-size/results/figure.png").is_file()


def test_what_was_made_is_not_made_again_but_by_other_words(collection: Path, tmp_path: Path) -> None:
    called: list[list[str]] = []

    def invoke(words: list[str]) -> int:
        called.append(list(words))
        sys.stdout.write("# told\n\n| a |\n")
        return int("--queries" in words and len(called) == 1)

    for _ in range(3):
        remake(tmp_path, Making({"collection": collection}, invoke, quick=True), ["resolution", "speed"])
    assert [words[0] for words in called] == ["experiment", "speed", "experiment"]  # the first one failed once
    assert "--out" not in called[1]
    remake(tmp_path, Making({"collection": collection}, invoke), ["resolution"])
    assert len(called) == 4
    assert "--queries" not in called[-1]
    with pytest.raises(ValueError, match="Unknown figure: expected one of scores, "):
        remake(tmp_path, Making({}, invoke), ["beauty"])


def test_the_page_says_what_is_not_given(tmp_path: Path) -> None:
    assert remake(tmp_path, Making({}, echo), ["sequences"]) == {"sequences": "--films is not given"}
    assert "Not made: --films is not given." in (tmp_path / "evidence.md").read_text()


def echo(words: list[str]) -> int:
    """Tell of a command in the place of calling it, as a process of its own can."""
    sys.stdout.write(words[0])
    sys.stderr.write(f"logged {os.getpid()}")
    return 0


def test_several_figures_are_made_at_the_same_time_but_those_that_tell_times(collection: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    making = Making({"collection": collection}, echo, workers=2, told=lines.append)
    assert list(remake(tmp_path, making, ["resolution", "speed", "probe"])) == ["resolution", "speed", "probe"]
    assert (tmp_path / "probe/printed.txt").read_text() == "experiment"
    assert re.fullmatch(r"logged \d+", (tmp_path / "probe/log.txt").read_text())
    assert str(os.getpid()) not in (tmp_path / "probe/log.txt").read_text()
    assert lines[-2:] == ["speed: incontext-bench speed", "3 of 3: speed, 0 s"]
    shown = re.findall("^## (.*)$", (tmp_path / "evidence.md").read_text(), re.MULTILINE)
    assert shown == ["resolution", "speed", "probe"]


def test_a_figure_tells_the_collection_that_it_is_made_of(collection: Path, tmp_path: Path) -> None:
    annotated = build_squares(tmp_path / "annotated", "heldout")
    given = {"collection": collection, "annotated": annotated}
    remake(tmp_path / "out", Making(given, echo), ["resolution", "raters", "speed"])
    told = [json.loads((tmp_path / "out" / name / DONE_NAME).read_text()) for name in ("resolution", "raters", "speed")]
    expected = [sha256_of(collection / NAME), sha256_of(annotated / NAME), ""]
    assert [each["collection_sha256"] for each in told] == expected
    assert expected[0] != expected[1]


def test_short_runs_see_a_part_of_each_collection(collection: Path, tmp_path: Path) -> None:
    remake(tmp_path, Making({"collection": collection, "annotated": collection}, echo, quick=True), ["raters"])
    words = json.loads((tmp_path / "raters" / DONE_NAME).read_text())["words"]
    assert words[words.index("--collection") + 1] == str(tmp_path / "annotated")
    assert (tmp_path / "annotated" / NAME).is_file()


def test_a_killed_worker_is_told_of(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="fewer --workers"):
        remake(tmp_path, Making({"collection": collection}, die, workers=2), ["resolution"])


def die(_words: list[str]) -> int:
    """End as the system ends a process for want of memory."""
    os._exit(9)
