"""Memory that is free is that of the machine, of the process and of its container, whichever is least."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from megamed.readers import memory
from megamed.readers.memory import free_bytes


@pytest.mark.parametrize(
    ("names", "idle"),
    [
        (("memory.max", "memory.current"), "inactive_file 1000"),
        (("memory.limit_in_bytes", "memory.usage_in_bytes"), "inactive_file 7\ntotal_inactive_file 1000"),
    ],
)
def test_a_container_has_its_own_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str], idle: str
) -> None:
    """Of what it uses, files that are read no more do not count."""
    for name, text in zip((*names, "memory.stat"), ("10000\n", "4000\n", f"anon 5\n{idle}\n"), strict=True):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CONTAINER", ((tmp_path, *names),))
    assert free_bytes() == 7000
    (tmp_path / names[0]).write_text("max\n")
    assert free_bytes() > 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells the size of an address space")
def test_a_process_has_its_own_limit() -> None:
    program = "from megamed.readers.memory import free_bytes; print(free_bytes())"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))

    told = subprocess.run([sys.executable, "-c", program], preexec_fn=limit, capture_output=True, check=True)
    assert 0 < float(told.stdout) < 2**30
