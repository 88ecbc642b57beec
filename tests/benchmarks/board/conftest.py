"""A run of two baselines by a frozen list, and keys to sign with."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.board.entry import About, Submission, make_entry, write_entry
from benchmarks.plans.frozen_lists import FrozenList, freeze_to, read_list
from benchmarks.plans.task_plans import Settings
from benchmarks.run import run_benchmark
from benchmarks.scoring.evaluator import Execution
from tests.benchmarks.squares import build_squares

PREDICTORS = ("mean-mask", "nearest-copy")


@pytest.fixture(scope="package")
def frozen_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen list, beside the run that scored it: not to be changed."""
    root = tmp_path_factory.mktemp("board")
    collection = build_squares(root, "heldout")
    freeze_to(root / "list.json", collection, Settings(support_size=2, draws=2, queries=4))
    run_benchmark(collection, read_list(root / "list.json"), PREDICTORS, root / "run", Execution("cpu", 8))
    return root / "list.json"


@pytest.fixture(scope="package")
def frozen(frozen_list: Path) -> FrozenList:
    return read_list(frozen_list)


@pytest.fixture(scope="package")
def run(frozen_list: Path) -> Path:
    return frozen_list.with_name("run")


@pytest.fixture(scope="package")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="package")
def key_file(key: Ed25519PrivateKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ssh") / "id_ed25519"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return path


@pytest.fixture(scope="package")
def entry(run: Path, frozen: FrozenList, key: Ed25519PrivateKey) -> Submission:
    """The sealed entry of the baseline that copies the nearest label."""
    return make_entry(run, frozen, "nearest-copy", About(name="copy", by="us", trained_on=())).sealed(key)


@pytest.fixture
def board(tmp_path: Path, frozen_list: Path, entry: Submission) -> Callable[..., Path]:
    """Makes a folder with the list, a valid entry `a.json`, and others under the names given."""

    def made(**others: Submission) -> Path:
        (tmp_path / "board").mkdir()
        (tmp_path / "board/list.json").write_bytes(frozen_list.read_bytes())
        for name, each in {"a": entry, **others}.items():
            write_entry(tmp_path / f"board/{name}.json", each)
        return tmp_path / "board"

    return made
