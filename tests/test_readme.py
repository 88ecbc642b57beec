"""README and the tutorials tell the truth: their blocks run, and what cannot run here names real targets and options.

Blocks of a page opened by ```python and ```sh run in order in one empty folder. Of an ```sh block, lines of `make`,
`pip` and `git` do not run. A block opened by ```sh example needs files of the reader's own: its commands and options
must exist.
"""

import os
import re
import shlex
import subprocess
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

BLOCK = re.compile(r"^```(python|sh)( example)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLERS = ("pip", "git", "cd")
SHELL = ("cat", "mkdir", "cp")
SCANS = """
import nibabel, numpy as np
from pathlib import Path
label = np.zeros((20, 24, 3), np.uint8)
label[5:14, 6:16] = 1
for name in "ab":
    for kind, array in (("images", 90 * label), ("labels", label))[: 1 + (name == "a")]:
        Path("scans", kind).mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 4, 1])), Path("scans", kind, f"{name}.nii.gz"))
"""
"""Makes a folder of volumes, of which one is labelled."""
TOOLS = "docs/annotation-tools.md"
TUTORIALS = ("own-images", "correcting", "volumes", "collection", "benchmark")
PAGES = (
    "README.md",
    "docs/problems.md",
    "docs/sharing.md",
    "docs/train-and-score.md",
    TOOLS,
    *(f"docs/tutorials/{name}.md" for name in TUTORIALS),
)


def blocks(page: Path) -> list[tuple[str, bool, str]]:
    """Language, whether it is an example, and text of each block."""
    found = BLOCK.findall(page.read_text())
    return [(language, bool(example), text.replace("\\\n", " ")) for language, example, text in found]


def commands(page: Path) -> list[list[str]]:
    lines = [line for language, _, text in blocks(page) if language == "sh" for line in text.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture
def environment(repository: Path, scripts: Path) -> dict[str, str]:
    """An environment in which `python` and the console scripts are those of this source tree."""
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(repository), "COLUMNS": "200"}


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page: str, repository: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for language, example, text in blocks(repository / page):
        if example:
            continue
        if language == "python":
            program = ["python", "-c", text]
        else:
            lines = [line for line in text.splitlines() if not line.startswith((*INSTALLERS, "make"))]
            program = ["bash", "-euc", "\n".join(lines)]
        done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def test_commands_of_annotation_tools_write_what_is_told(
    repository: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    text = (repository / TOOLS).read_text()
    drawing = next(block for language, _, block in blocks(repository / TOOLS) if language == "python")
    subprocess.run(["python", "-c", drawing], cwd=tmp_path, env=environment, check=True)
    subprocess.run(["python", "-c", SCANS], cwd=tmp_path, env=environment, check=True)
    together: dict[str, list[str]] = {}
    for command in re.findall(r"^\* Command: `(.*?)`", text, re.MULTILINE):
        start, tool = command.split(" --write ")
        together.setdefault(start, []).append(f"--write {tool}")
    assert len(together) == 2
    for start, tools in together.items():  # one run for all tools of a folder
        subprocess.run(shlex.split(f"{start} {' '.join(tools)} --quiet"), cwd=tmp_path, env=environment, check=True)
    for place in re.findall(r"^\* Written: `(.*?)`", text, re.MULTILINE):
        assert any((tmp_path / out / place).exists() for out in ("result", "scanned")), place


def test_make_targets_exist(repository: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), re.MULTILINE)
    named = {
        target
        for words in commands(repository / "README.md")
        if words[0] == "make"
        for target in words[1:]
        if "=" not in target
    }
    assert named
    assert named <= set(targets)


def test_every_tutorial_is_tested(repository: Path) -> None:
    assert {path.stem for path in (repository / "docs" / "tutorials").glob("*.md")} == set(TUTORIALS)


@cache
def helped(script: str, *path: str) -> str:
    """What the help of a command says."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    module, name = project["scripts"][script].split(":")
    asked = CliRunner(env={"COLUMNS": "200"}).invoke(getattr(import_module(module), name), [*path, "--help"])
    assert asked.exit_code == 0, f"{script} {' '.join(path)}: {asked.output}"
    return asked.stdout


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: str, repository: Path) -> None:
    for words in commands(repository / page):
        if words[0] in ("make", *INSTALLERS, *SHELL):
            continue
        depth = 3 if words[1:2] == ["library"] else 2
        path = (words[0], *(word for word in words[1:depth] if not word.startswith("-")))
        text = helped(*path)
        for option in [word.split("=")[0] for word in words if word.startswith("--")]:
            assert re.search(rf"{option}\b", text), f"{' '.join(path)} has no option {option}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str, repository: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", (repository / page).read_text())
    assert not [link for link in links if not (repository / page).parent.joinpath(link).exists()]
