"""`incontext serve`: what it is told to serve, where it listens, and what it prints."""

import socket
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("nnInteractive")

import uvicorn
from typer.testing import CliRunner

from incontext.cli import app
from tests.killed_runs import write_images, write_weights


@pytest.fixture
def support(tmp_path: Path) -> Path:
    write_weights(tmp_path / "w.safetensors")
    return write_images(tmp_path / "support", ["a"])


def serve(folder: Path, *options: str) -> str:
    given = ("--weights", str(folder.parent / "w.safetensors"), "--support", str(folder), "--port", "0", *options)
    result = CliRunner().invoke(app, ["serve", *given], env={"NN_INTERACTIVE_API_KEY": None})
    return result.output if result.exit_code == 0 else f"{result.exit_code}: {result.output}"


def test_it_listens_on_this_machine_alone_and_prints_address_and_key(
    support: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners: list[tuple[str, int]] = []

    def run(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        listeners.append(sockets[0].getsockname())

    monkeypatch.setattr(uvicorn.Server, "run", run)
    made, given = serve(support).split(), serve(support, "--key", "mine", "--structure", "1").split()
    assert {host for host, _ in listeners} == {"127.0.0.1"}
    assert [each[1] for each in (made, given)] == [f"http://{host}:{port}" for host, port in listeners]
    assert len(made[3]) > 30
    assert given[3] == "mine"


def test_what_cannot_be_served_is_refused(support: Path) -> None:
    assert "structure is unknown: expected one of 1, got liver" in serve(support, "--structure", "liver")
    assert serve(support, "--task", "my.task").startswith("2: ")
