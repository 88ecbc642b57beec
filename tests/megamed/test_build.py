"""The build rejects by subject, repeats itself exactly and survives being killed."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

import megamed
from megamed import Collection
from megamed.build import DECIDING_MODULES, BuildOptions, BuildReport, DatasetOutcome, _in_order, _Prepared, build
from megamed.collection import verify
from megamed.executors import local_executor
from megamed.files import exclusive
from megamed.manifest import DatasetEntry, read_manifest
from megamed.standardise import Standard
from megamed.vocabulary import Layout


def no_progress(*_: object) -> None:
    """Show nothing."""


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


def truncate(root: Path) -> None:
    path = root / "images" / "p1_a.png"
    path.write_bytes(path.read_bytes()[:40])


def drop_image(root: Path) -> None:
    (root / "images" / "p1_a.png").unlink()


def drop_label(root: Path) -> None:
    (root / "labels" / "p1_a.png").unlink()


def add_second_image(root: Path) -> None:
    Image.open(root / "images" / "p1_a.png").save(root / "images" / "p1_a.jpg")


def put_label(root: Path, label: np.ndarray) -> None:
    Image.fromarray(label.astype(np.uint8)).save(root / "labels" / "p1_a.png")


REASONS = {
    "cannot be read": truncate,
    "expected one image, got none": drop_image,
    "expected one label, got none": drop_label,
    "expected one image, got p1_a.jpg, p1_a.png": add_second_image,
    "label does not match its image": lambda root: put_label(root, np.ones((24, 23))),
    "label has values not on the card: expected [1, 2], got [9]": lambda root: put_label(root, np.full((24, 24), 9)),
}


@pytest.mark.parametrize("reason", REASONS)
def test_faulty_case_rejects_its_subject_only(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path, reason: str
) -> None:
    root = make_dataset(3)
    REASONS[reason](root)
    report = build_folder(root)
    outcome = report.datasets["drawn"]
    assert not report.complete
    assert (outcome.status, outcome.subjects, outcome.rows) == ("built", 2, 4)
    assert list(outcome.rejected) == ["p1"]
    assert any(reason in text for text in outcome.rejected["p1"])
    assert verify(tmp_path / "out") == []


def test_an_empty_picture_loses_nobody(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(3)
    put_label(root, np.zeros((24, 24)))
    Image.new("L", (24, 24)).save(root / "images" / "p1_a.png")  # black, as scans are beyond the body
    report = build_folder(root)
    assert report.complete
    assert (report.datasets["drawn"].subjects, report.datasets["drawn"].rows) == (3, 5)
    with Collection(tmp_path / "out") as collection:
        cases = {sample.case for task in collection.tasks() for sample in collection.samples(task)}
    assert cases == {"p0_a", "p0_b", "p1_b", "p2_a", "p2_b"}


def test_an_image_of_one_grey_is_left_out_and_that_is_said(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(3)
    for name in ("p1_a", "p2_a", "p2_b"):
        Image.new("L", (24, 24), 7).save(root / "images" / f"{name}.png")
    report = build_folder(root)
    outcome = report.datasets["drawn"]
    assert (outcome.subjects, outcome.rows) == (2, 3)
    note = "case 'p1_a', CT (drawn): left out, for all its pixels are 7"
    assert outcome.notes["p1"] == (note,)
    assert f"note on drawn, subject p1: {note}." in report.lines()
    (reason,) = outcome.rejected["p2"]
    assert "nothing is left of its images: case 'p2_a', CT (drawn): left out" in reason
    assert note in (tmp_path / "out" / "build_report.json").read_text()


def test_notes_on_many_subjects_are_counted() -> None:
    notes = {f"p{number}": ("turned upright",) for number in range(13)}
    lines = BuildReport(datasets={"d": DatasetOutcome(status="built", notes=notes)}).lines()
    assert sum(line.startswith("note on d") for line in lines) == 10
    assert lines[-1] == "notes on 3 more subjects of d are in build_report.json."


def test_a_subject_with_empty_pictures_alone_is_rejected(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport]
) -> None:
    root = make_dataset(2)
    for view in "ab":
        Image.new("L", (24, 24)).save(root / "labels" / f"p1_{view}.png")
    (reason,) = build_folder(root).datasets["drawn"].rejected["p1"]
    assert reason == "all 2 cases: label is empty: expected at least one labelled pixel, got none."


def test_the_catalogued_lgg_card_builds_what_the_source_delivers(
    build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    """Most slices of every patient are without a tumour; green is the sequence that the card names."""
    root = tmp_path / "lgg_flair"
    card = Path(megamed.__file__).parent / "catalogue" / "lgg_flair.toml"
    for patient in ("TCGA_CS_4941_19960909", "TCGA_DU_5849_19950405"):
        folder = root / "kaggle_3m" / patient
        folder.mkdir(parents=True)
        for number in range(1, 6):
            colours = np.random.default_rng(number).integers(0, 255, (24, 24, 3), np.uint8)
            mask = np.zeros((24, 24), np.uint8)
            mask[4:12, 4:12] = 255 * (number in (2, 3))
            Image.fromarray(colours).save(folder / f"{patient}_{number}.tif")
            Image.fromarray(mask).save(folder / f"{patient}_{number}_mask.tif")
    (root / "card.toml").write_bytes(card.read_bytes())
    report = build_folder(root, size_px=24)
    assert report.complete
    assert (report.datasets["lgg_flair"].subjects, report.datasets["lgg_flair"].rows) == (2, 4)


def test_all_reasons_of_a_subject_are_told(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport]
) -> None:
    root = make_dataset(2)
    drop_label(root)
    (root / "images" / "p1_b.png").write_bytes(b"no picture")
    assert len(build_folder(root).datasets["drawn"].rejected["p1"]) == 2


def test_case_without_subject_is_rejected(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport]
) -> None:
    root = make_dataset(2)
    for kind in ("images", "labels"):
        (root / kind / "p1_a.png").rename(root / kind / "stray.png")
    (reason,) = build_folder(root).datasets["drawn"].rejected["stray"]
    assert "names no subject" in reason


def test_dataset_without_usable_subject_is_left_out(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    make_dataset(2)
    empty = make_dataset(0, "data/empty", id="empty")
    broken = make_dataset(1, "data/broken")
    (broken / "meta.json").write_text("{}")
    report = build_folder(empty.parent)
    assert {name: outcome.status for name, outcome in report.datasets.items()} == {
        "broken": "left out",
        "drawn": "built",
        "empty": "left out",
    }
    assert Collection(tmp_path / "out").datasets == ("drawn",)
    assert len(report.lines()) == 3


def test_same_input_gives_the_same_bytes(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(3)
    for out in ("a", "b"):
        build_folder(root, tmp_path / out)
    with local_executor(1) as executor:
        build(root, tmp_path / "c", BuildOptions(Standard(16)), executor, no_progress)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b") == snapshot(tmp_path / "c")


def test_unchanged_dataset_is_not_built_again(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(3)
    build_folder(root)
    assert build_folder(root).datasets["drawn"].status == "unchanged"
    assert build_folder(root, force=True).datasets["drawn"].status == "built"
    (root / "images" / "p1_a.png").touch()
    assert build_folder(root).datasets["drawn"].status == "built"


def test_changed_dataset_replaces_its_file(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(3)
    build_folder(root)
    before = snapshot(tmp_path / "out")
    put_label(root, np.ones((24, 24)))
    build_folder(root)
    after = snapshot(tmp_path / "out")
    assert len(after) == len(before) == 3
    assert set(after) != set(before)


def test_added_subjects_and_datasets_move_nobody(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    def splits() -> dict[str, str]:
        with Collection(tmp_path / "out") as collection:
            samples = collection.samples(collection.tasks(["drawn"])[0])
            return {sample.subject: sample.split for sample in samples}

    build_folder(make_dataset(4))
    before = splits()
    build_folder(make_dataset(12, "more/drawn"))
    build_folder(make_dataset(1, "more/other", id="other"))
    assert len(before) == 4
    assert before.items() <= splits().items()
    assert Collection(tmp_path / "out").datasets == ("drawn", "other")


def test_shared_patients_share_splits(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    make_dataset(12)
    root = make_dataset(12, "data/again", id="again", shares_patients_with=["drawn"])
    build_folder(root.parent)
    with Collection(tmp_path / "out") as collection:
        first, second = (
            [(sample.subject, sample.split) for sample in collection.samples(collection.tasks([name])[0])]
            for name in ("drawn", "again")
        )
    assert first == second
    assert len({split for _, split in first}) == 3


def test_verify_finds_shared_patients_built_apart(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    build_folder(make_dataset(12))
    build_folder(make_dataset(12, "apart/again", id="again", shares_patients_with=["drawn"]))
    assert any("Build them together" in problem for problem in verify(tmp_path / "out"))


def test_other_files_are_never_touched(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.h5").write_text("dear")
    with pytest.raises(ValueError, match="holds other files"):
        build_folder(make_dataset(1))
    assert snapshot(out) == {"thesis.h5": b"dear"}


def test_other_size_is_refused(make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport]) -> None:
    root = make_dataset(1)
    build_folder(root)
    with pytest.raises(ValueError, match="expected 16, got 32"):
        build_folder(root, size_px=32)


def test_ids_must_be_unique(make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport]) -> None:
    make_dataset(1)
    with pytest.raises(ValueError, match="got 'drawn' twice"):
        build_folder(make_dataset(1, "data/twin").parent)


def test_volumes_are_cut_along_their_axes(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    nibabel = pytest.importorskip("nibabel")
    root = make_dataset(0, labels={"1": "disc"}, derived_labels={}, modality="MRI")
    for folder in ("images", "labels"):
        (root / folder).rmdir()
    (root / "volumes").mkdir()
    label = np.zeros((20, 20, 20), np.uint8)
    label[5:15, 5:15, 3:8] = 1
    image = label * 100 + np.arange(20, dtype=np.uint8)
    affines = {"p0_a": np.eye(4), "p1_a": np.diag([1, 1, 3, 1.0]), "p2_a": np.eye(4)}
    for name, affine in affines.items():
        shifted = affine + np.eye(4, k=3) * (name == "p2_a")
        nibabel.save(nibabel.Nifti1Image(image, affine), root / "volumes" / f"{name}_image.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, shifted), root / "volumes" / f"{name}_label.nii.gz")
    report = build_folder(root)
    assert list(report.datasets["drawn"].rejected) == ["p2"]
    with Collection(tmp_path / "out") as collection:
        cases = {task.axis: [sample.case for sample in collection.samples(task)] for task in collection.tasks()}
    assert cases == {
        "axial": ["p0_a:3", "p1_a:3"],
        "coronal": ["p0_a:5", "p0_a:10"],
        "sagittal": ["p0_a:5", "p0_a:10"],
    }


PATIENT_BUILD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from megamed.build import BuildOptions, build
from megamed.standardise import Standard
root, out = map(Path, sys.argv[1:])
def progress(dataset, finished, total):
    print(dataset, flush=True)
    sys.stdin.readline()
with ThreadPoolExecutor(1) as executor:
    build(root, out, BuildOptions(Standard(16)), executor, progress)
"""


@pytest.mark.parametrize("lines_seen", [1, 5, 6])
def test_killed_build_leaves_the_old_collection(
    make_dataset: Callable[..., Path],
    build_folder: Callable[..., BuildReport],
    tmp_path: Path,
    repository: Path,
    lines_seen: int,
) -> None:
    root = make_dataset(4)
    build_folder(root)
    old = read_manifest(tmp_path / "out")
    put_label(root, np.ones((24, 24)))
    make_dataset(4, "data/other", id="other")

    process = subprocess.Popen(
        [sys.executable, "-c", PATIENT_BUILD, str(root.parent), str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=repository,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n" * (lines_seen - 1))
        process.stdin.flush()
        for _ in range(lines_seen):
            assert process.stdout.readline()
        process.kill()

    assert read_manifest(tmp_path / "out") == old
    assert verify(tmp_path / "out") == []
    steps: list[tuple[str, int, int]] = []
    with ThreadPoolExecutor(1) as executor:
        build(root.parent, tmp_path / "out", BuildOptions(Standard(16)), executor, lambda *step: steps.append(step))
    assert verify(tmp_path / "out") == []
    assert (("drawn", 4, 8) in steps) == (lines_seen > 4)  # finished before the kill: all its subjects in one step
    assert len(snapshot(tmp_path / "out")) == 4  # two datasets, manifest, report: no leftovers


KILLED_BUILDS = """
import itertools, os, random, signal, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from megamed.build import BuildOptions, build
from megamed.standardise import Standard

STEPS = {"open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.scandir"}

def build_until(out, last):
    '''Build in a child that kills itself at a file operation; return how many it has done.'''
    told, tell = os.pipe()
    if child := os.fork():
        os.close(tell)
        os.waitpid(child, 0)
        return len(os.read(told, 2**16))
    def count(event, _, steps=itertools.count()):
        if event in STEPS:
            os.write(tell, b".")
            if next(steps) == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    with ThreadPoolExecutor(1) as executor:
        build(root, out, BuildOptions(Standard(16)), executor, lambda *_: None)
    os._exit(0)

root, out = map(Path, sys.argv[1:])
for name in range(2):  # the first also counts what is loaded only once
    total = build_until(out / "undisturbed", None)
for seed in range(10):
    moment = random.Random(seed).randrange(total)
    assert build_until(out / f"killed{seed}", moment) == moment + 1
for seed in range(10):
    build_until(out / "killed often", random.Random(seed).randrange(total // 2, total))
"""


def test_killed_at_ten_random_moments_then_resumed_equals_undisturbed(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path, repository: Path
) -> None:
    for name in ("drawn", "other", "third"):
        root = make_dataset(4, f"data/{name}", id=name).parent
    build_folder(root, tmp_path / "fresh")
    builds = tmp_path / "builds"
    builds.mkdir()
    subprocess.run([sys.executable, "-c", KILLED_BUILDS, str(root), str(builds)], cwd=repository, check=True)
    for out in (builds / name for name in (*(f"killed{seed}" for seed in range(10)), "killed often")):
        build_folder(root, out)
        assert snapshot(out) == snapshot(tmp_path / "fresh"), out.name


def test_two_builds_into_one_folder_are_refused(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root, out = make_dataset(1), tmp_path / "out"
    out.mkdir()
    with exclusive(out), pytest.raises(ValueError, match="expected to build there alone, got another at work"):
        build_folder(root)
    assert build_folder(root).complete
    assert not (out / ".lock").exists()


def test_only_some_datasets_are_built(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    for name in ("drawn", "mr_a", "mr_b"):
        root = make_dataset(2, f"data/{name}", id=name, shares_patients_with=["drawn"]).parent
    build_folder(root, only=("mr_*",))
    assert Collection(tmp_path / "out").datasets == ("mr_a", "mr_b")
    build_folder(root, only=("drawn", "mr_a"))  # others stay
    build_folder(root, tmp_path / "at once")
    for name in ("out", "at once"):
        assert Collection(tmp_path / name).datasets == ("drawn", "mr_a", "mr_b")
    assert read_manifest(tmp_path / "out") == read_manifest(tmp_path / "at once")
    with pytest.raises(ValueError, match="Did you mean 'mr_b'"):
        build_folder(root, only=("mr_c",))


def test_only_open_licences_are_built(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    make_dataset(1)
    root = make_dataset(1, "data/closed", id="closed", license="CC BY-NC 4.0").parent
    report = build_folder(root, licence="open")
    assert (report.complete, report.not_open) == (True, ("closed",))
    assert "1 datasets skipped, their licence is not open: closed." in report.lines()
    assert Collection(tmp_path / "out").datasets == ("drawn",)


@pytest.mark.parametrize("changes", [{"fit": "stretch"}, {"label_resize": "nearest"}, {"every_nth": 3}])
def test_another_standard_is_another_dataset(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path, changes: dict[str, Any]
) -> None:
    root = make_dataset(1)
    build_folder(root)
    assert build_folder(root).datasets["drawn"].status == "unchanged"
    assert build_folder(root, standard=Standard(16, **changes)).datasets["drawn"].status == "built"
    provenance = read_manifest(tmp_path / "out").datasets["drawn"].provenance
    assert provenance is not None
    assert changes.items() <= provenance.standard.items()


def test_provenance_is_of_content_alone(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    def built() -> DatasetEntry:
        build_folder(root)
        return read_manifest(tmp_path / "out").datasets["drawn"]

    root = make_dataset(2)
    before = built()
    (root / "images" / "p1_a.png").touch()
    touched = built()
    assert touched.fingerprint != before.fingerprint
    assert (touched.sha256, touched.provenance) == (before.sha256, before.provenance)
    put_label(root, np.ones((24, 24)))
    assert built().provenance != before.provenance


def test_rows_never_pile_up() -> None:
    """However many tasks there are, only a window of them is begun before its turn."""
    begun: list[int] = []

    def task(number: int) -> _Prepared:
        begun.append(number)
        return _Prepared([], [], str(number))

    results = _in_order(InThisThread(), (partial(task, number) for number in range(100)), ahead=12)
    for number, result in enumerate(results):
        assert result.sources_sha256 == str(number)
        assert len(begun) <= number + 12
    assert begun == list(range(100))


class InThisThread(Executor):
    """Does each task at once."""

    def submit(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(task(*args, **kwargs))
        return future


def test_a_part_is_split_as_the_whole(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    """Patients may be shared with a dataset that is not asked for, as only a third one says."""
    for name, others in {"first": [], "link": ["first", "other"], "other": []}.items():
        make_dataset(4, f"data/{name}", id=name, shares_patients_with=others)
    build_folder(tmp_path / "data", only=("other",))
    (entry,) = read_manifest(tmp_path / "out").datasets.values()
    assert entry.provenance.split_group == "first"


def test_a_dataset_that_has_become_unusable_leaves_the_collection(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(1)
    make_dataset(1, "data/other", id="other")
    build_folder(root.parent)
    for label in (root / "labels").iterdir():
        label.write_bytes(b"no picture")
    assert build_folder(root.parent).datasets["drawn"].status == "left out"
    assert Collection(tmp_path / "out").datasets == ("other",)
    assert len(list((tmp_path / "out").glob("*.h5"))) == 1


def test_a_dataset_whose_card_has_become_unusable_leaves_the_collection(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(1)
    make_dataset(1, "data/other", id="other")
    build_folder(root.parent)
    (root / "meta.json").write_text("{}")
    assert build_folder(root.parent).datasets["drawn"].status == "left out"
    assert Collection(tmp_path / "out").datasets == ("other",)


def test_a_file_that_has_lost_its_end_is_built_again(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(2)
    build_folder(root)
    (file,) = (tmp_path / "out").glob("*.h5")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert build_folder(root).datasets["drawn"].status == "built"
    assert file.read_bytes() == whole


def test_other_libraries_make_old_datasets_be_built_again(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_dataset(2)
    build_folder(root)
    monkeypatch.setattr("megamed.build._libraries", lambda: {"h5py": "0", "numpy": "0", "pillow": "0"})
    assert build_folder(root).datasets["drawn"].status == "built"


def test_code_version_covers_what_prepares_rows(repository: Path) -> None:
    """A module that decides what a row looks like must make old collections be built again."""
    modules = ", ".join(f"megamed.layouts.{layout}" for layout in get_args(Layout))
    program = f"import sys, megamed.prepare, {modules}; print(*(m for m in sys.modules if m.startswith('megamed.')))"
    run = subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, capture_output=True, text=True)
    used = {module.split(".")[1] for module in run.stdout.split()}
    assert used <= set(DECIDING_MODULES)


def test_real_datasets_build_and_verify(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    names = ("stare", "ms_lesion_flair_mr", "isbi2012_em_membrane")
    for name in names:
        (root / name).symlink_to(shared / "data" / name)
    with local_executor(2) as executor:
        report = build(root, tmp_path / "out", BuildOptions(Standard(64)), executor, no_progress)
    assert report.complete
    assert verify(tmp_path / "out") == []
    with Collection(tmp_path / "out") as collection:
        assert collection.datasets == tuple(sorted(names))
        assert {task.axis for task in collection.tasks()} == {"2d", "axial", "coronal", "sagittal"}
        for task in collection.tasks():
            samples = collection.samples(task)
            brightness = collection.images(task, [sample.row for sample in samples]).mean()
            assert len(samples) >= 3
            assert 10 < brightness < 200


def test_a_pipe_among_the_images_is_rejected_unopened(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport]
) -> None:
    root = make_dataset(2)
    os.mkfifo(root / "images" / "p7_a.png")
    report = build_folder(root)
    assert report.datasets["drawn"].subjects == 2
    reason = "case 'images/p7_a.png' is no file: expected one, got a pipe, a socket or a device."
    assert reason in str(report.datasets["drawn"].rejected)


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, KeyError, RecursionError, OSError], ids=repr)
@pytest.mark.parametrize("stage", ["prepare.read_image", "build.find_subjects", "build.read_card"])
def test_whatever_fails_rejects_what_it_concerns(
    make_dataset: Callable[..., Path],
    build_folder: Callable[..., BuildReport],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    stage: str,
) -> None:
    """A subject, or a dataset that cannot be listed; all others are built."""
    root = make_dataset(3).parent
    make_dataset(1, "data/other", id="other")
    module, name = stage.split(".")
    right = getattr(sys.modules[f"megamed.{module}"], name)

    def fail(first: Any, *others: Any) -> Any:
        if "p2_a" in str(first) or "other" in str(first):
            raise error
        return right(first, *others)

    monkeypatch.setattr(f"megamed.{stage}", fail)
    report = build_folder(root)
    is_subject = stage.endswith("read_image")
    assert report.datasets["drawn"].subjects == 3 - is_subject
    assert not report.complete
    (reason,) = report.datasets["drawn"].rejected["p2"] if is_subject else (report.datasets["other"].reason,)
    assert "memory is full" in reason if error is MemoryError else error.__name__ in reason
    assert verify(root.parent / "out") == []


def test_a_link_in_a_circle_holds_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with ThreadPoolExecutor(1) as executor, pytest.raises(OSError, match="circle"):
        build(tmp_path / "circle", tmp_path / "out", BuildOptions(), executor, lambda *_: None)
