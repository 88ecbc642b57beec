"""README and the tutorials tell the truth: their blocks run, and what cannot run here names real targets and options.

Blocks of a page opened by ```python and ```sh run in order in one empty folder. Of an ```sh block, lines of `make`,
`pip` and `git` do not run. A block opened by ```sh example needs files of the reader's own: its commands and options
must exist.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```(python|sh)( example)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLERS = ("pip", "git", "cd")
SHELL = ("cat",)
TUTORIALS = ("own-images", "volumes", "collection", "benchmark")
PAGES = ("README.md", "docs/problems.md", *(f"docs/tutorials/{name}.md" for name in TUTORIALS))


def blocks(page: Path) -> list[tuple[str, bool, str]]:
    """Language, whether it is an example, and text of each block."""
    found = BLOCK.findall(page.read_text())
    return [(language, bool(example), text.replace("\\\n", " ")) for language, example, text in found]


def commands(page: Path) -> list[list[str]]:
    lines = [line for language, _, text in blocks(page) if language == "sh" for line in text.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture
def environment(repository: Path, tmp_path: Path) -> dict[str, str]:
    """An environment in which the console scripts of pyproject.toml are those of this source tree."""
    scripts = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["scripts"]
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, target in scripts.items():
        module, function = target.split(":")
        script = bin_folder / name
        script.write_text(
            f'#!{sys.executable}\nfrom {module} import {function}\nif __name__ == "__main__":\n    {function}()\n'
        )
        script.chmod(0o755)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(repository), "COLUMNS": "200"}


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page: str, repository: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for language, example, text in blocks(repository / page):
        if example:
            continue
        if language == "python":
            program = [sys.executable, "-c", text]
        else:
            lines = [line for line in text.splitlines() if not line.startswith((*INSTALLERS, "make"))]
            program = ["bash", "-euc", "\n".join(lines)]
        done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def test_make_targets_exist(repository: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), re.MULTILINE)
    named = {target for words in commands(repository / "README.md") if words[0] == "make" for target in words[1:]}
    assert named
    assert named <= set(targets)


def test_every_tutorial_is_tested(repository: Path) -> None:
    assert {path.stem for path in (repository / "docs" / "tutorials").glob("*.md")} == set(TUTORIALS)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: str, repository: Path, environment: dict[str, str]) -> None:
    for words in commands(repository / page):
        if words[0] in ("make", *INSTALLERS, *SHELL):
            continue
        path = [words[0]] + [word for word in words[1:2] if not word.startswith("-")]
        helped = subprocess.run([*path, "--help"], env=environment, capture_output=True, text=True, check=False)
        assert helped.returncode == 0, f"{' '.join(words)}: {helped.stderr}"
        for option in [word.split("=")[0] for word in words if word.startswith("--")]:
            assert re.search(rf"{option}\b", helped.stdout), f"{' '.join(path)} has no option {option}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str, repository: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", (repository / page).read_text())
    assert not [link for link in links if not (repository / page).parent.joinpath(link).exists()]
