"""README tells the truth: its blocks run, in order, and what cannot run here names real targets and options.

Blocks opened by ```python and ```sh run in one empty folder. Of an ```sh block, lines of `make`, `pip` and `git`
do not run. A block opened by ```sh example needs files of the reader's own: its commands and options must exist.
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


def blocks(repository: Path) -> list[tuple[str, bool, str]]:
    """Language, whether it is an example, and text of each block."""
    found = BLOCK.findall((repository / "README.md").read_text())
    return [(language, bool(example), text.replace("\\\n", " ")) for language, example, text in found]


def commands(repository: Path) -> list[list[str]]:
    lines = [line for language, _, text in blocks(repository) if language == "sh" for line in text.splitlines()]
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
        script.write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
        script.chmod(0o755)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(repository), "COLUMNS": "200"}


def test_blocks_run(repository: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for language, example, text in blocks(repository):
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
    named = {target for words in commands(repository) if words[0] == "make" for target in words[1:]}
    assert named
    assert named <= set(targets)


def test_commands_and_options_exist(repository: Path, environment: dict[str, str]) -> None:
    for words in commands(repository):
        if words[0] in ("make", *INSTALLERS):
            continue
        path = [words[0]] + [word for word in words[1:2] if not word.startswith("-")]
        helped = subprocess.run([*path, "--help"], env=environment, capture_output=True, text=True, check=False)
        assert helped.returncode == 0, f"{' '.join(words)}: {helped.stderr}"
        for option in [word.split("=")[0] for word in words if word.startswith("--")]:
            assert re.search(rf"{option}\b", helped.stdout), f"{' '.join(path)} has no option {option}"


def test_links_lead_somewhere(repository: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", (repository / "README.md").read_text())
    assert not [link for link in links if not (repository / link).exists()]
