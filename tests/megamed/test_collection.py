"""The HDF5 format: written is read, unsafe files stay shut, verify finds damage."""

import os
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from megamed import Collection, Task
from megamed.build import BuildReport
from megamed.collection import TABLES, DatasetWriter, _layout_problems, verify
from megamed.files import replace_file, sha256_of
from megamed.manifest import View, parse_manifest, read_manifest
from megamed.rows import StandardSlice, pack

Change = Callable[[h5py.Group], None]
TASK = Task(dataset="drawn", modality="ct-drawn", axis="2d", label="disc")


@pytest.fixture
def built(make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path) -> Path:
    build_folder(make_dataset(5))
    return tmp_path / "out"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    rows = [
        StandardSlice(
            "mr", "axial", f"p{i // 2}", f"c{i}", "train", noise.integers(0, 256, (8, 8), np.uint8), masks, known
        )
        for i, (masks, known) in enumerate(
            [
                ({}, frozenset("a")),
                ({"a": np.eye(8, dtype=np.uint8)}, frozenset("ab")),
                ({"b": np.ones((8, 8), np.uint8), "a": np.zeros((8, 8), np.uint8)}, frozenset("ab")),
            ]
        )
    ]
    writer = DatasetWriter(tmp_path / "a.h5", 8)
    for row in rows:
        writer.append(pack(row))
    (view,) = writer.finish_views()
    writer.close()
    assert (view.rows, view.samples) == (3, {"a": 1, "b": 1})
    with h5py.File(tmp_path / "a.h5") as file:
        group = file["mr/axial"]
        for index, row in enumerate(rows):
            assert np.array_equal(group["images"][index], row.image)
            for label in "ab":
                assert np.array_equal(group["labels"][label][index], row.masks.get(label, np.zeros((8, 8))))
        assert group["images"].chunks == group["labels/a"].chunks == (1, 8, 8)
        assert group["areas/a"][()].tolist() == [0, 8, 0]
        assert group["areas/b"][()].tolist() == [-1, 0, 64]  # nobody looked for b on the first image
        assert group["case"].asstr()[()].tolist() == ["c0", "c1", "c2"]


def test_tasks_are_sorted_and_filtered(built: Path) -> None:
    with Collection(built) as collection:
        assert [task.id for task in collection.tasks()] == [
            "drawn/ct-drawn/2d/both-of-them",
            "drawn/ct-drawn/2d/disc",
            "drawn/ct-drawn/2d/ring",
        ]
        assert collection.tasks(roles=["dev"]) == []
        assert collection.tasks(["drawn"], ["train"]) == collection.tasks()


def test_samples_have_their_label(built: Path) -> None:
    with Collection(built) as collection:
        samples = collection.samples(TASK)
        assert [sample.case for sample in samples] == [f"p{i}_{view}" for i in range(5) for view in "ab"]
        for sample in samples:
            label = collection.label(TASK, sample.row)
            assert label.sum() == sample.area_px > 0
            assert set(np.unique(label)) == {0, 1}
        by_split = [sample for split in ("train", "val", "test") for sample in collection.samples(TASK, split)]
        assert sorted(by_split, key=lambda sample: sample.row) == samples


def test_derived_label_is_the_union(built: Path) -> None:
    union, first, second = (TASK.model_copy(update={"label": name}) for name in ("both-of-them", "disc", "ring"))
    with Collection(built) as collection:
        parts = collection.label(first, 0) | collection.label(second, 0)
        assert np.array_equal(collection.label(union, 0), parts)


def test_many_rows_are_one_at_a_time(built: Path) -> None:
    with Collection(built) as collection:
        rows = [4, 0, 4]
        assert np.array_equal(collection.images(TASK, rows), np.stack([collection.image(TASK, row) for row in rows]))
        assert np.array_equal(collection.labels(TASK, rows), np.stack([collection.label(TASK, row) for row in rows]))


def test_unknown_names_are_suggested(built: Path) -> None:
    with Collection(built) as collection:
        with pytest.raises(ValueError, match="Did you mean 'drawn'"):
            collection.card("drown")
        with pytest.raises(ValueError, match="Did you mean 'drawn/ct-drawn/2d/disc'"):
            collection.samples(TASK.model_copy(update={"label": "disk"}))
    with pytest.raises(ValueError, match="is not a collection"):
        Collection(built.parent)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_of_a_data_loader_open_their_own_files(built: Path, method: str) -> None:
    with Collection(built) as collection:
        expected = collection.images(TASK, range(10))  # the files are open when the workers start
        loader = torch.utils.data.DataLoader(
            range(10),  # type: ignore[arg-type]
            batch_size=2,
            num_workers=2,
            collate_fn=partial(collection.images, TASK),
            multiprocessing_context=method,
        )
        assert np.array_equal(np.concatenate(list(loader)), expected)
        assert np.array_equal(collection.images(TASK, range(10)), expected)
        assert np.array_equal(pickle.loads(pickle.dumps(collection)).images(TASK, range(10)), expected)


def test_another_process_never_reads_through_the_handles_of_its_parent(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collection(built) as collection:
        expected = collection.image(TASK, 0)
        inherited = collection._file("drawn")
        monkeypatch.setattr(os, "getpid", lambda: -1)  # as a forked child would find it
        assert np.array_equal(collection.image(TASK, 0), expected)
        assert collection._file("drawn") is not inherited
        assert inherited.id.valid  # it is the parent's to close
        inherited.close()


@pytest.mark.parametrize(
    ("rows", "letters", "problem"),
    [(10_000, 1, "declares 10000 images, more than the file holds"), (4, 10**6, "declares 4000000 bytes, more than")],
    ids=["rows never written", "words never written"],
)
def test_a_small_file_may_not_declare_large_arrays(tmp_path: Path, rows: int, letters: int, problem: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("mr/axial")
        for name in ("images", "labels/a"):
            group.create_dataset(name, (rows, 16, 16), "u1", chunks=(1, 16, 16))
        for table in TABLES:
            group.create_dataset(table, (rows,), f"S{letters}")
        group.create_dataset("areas/a", (rows,), "i4")
        view = View(modality="mr", axis="axial", rows=rows, samples={"a": 0})
        if letters == 1:  # all but the pixels is there
            for name in (*TABLES, "areas/a"):
                group[name][...] = np.zeros(rows, group[name].dtype)
            file.flush()
        problems = list(_layout_problems(file, [view], 16))
    assert any(problem in each for each in problems)
    assert all("more than the file holds" in each for each in problems)


def test_one_file_is_a_collection(built: Path, tmp_path: Path) -> None:
    file = next(built.glob("*.h5")).rename(tmp_path / "renamed.h5")
    (built / "manifest.json").rename(tmp_path / "elsewhere.json")
    assert verify(file) == []
    with Collection(file) as collection:
        assert (collection.datasets, collection.size_px, len(collection.tasks())) == (("drawn",), 16, 3)
        assert len(collection.samples(TASK)) == 10
        assert collection.label(TASK, 0).sum() == collection.samples(TASK)[0].area_px
        header = collection.entry("drawn")
    entry = parse_manifest(tmp_path / "elsewhere.json").datasets["drawn"]
    assert entry.contents == header
    assert header.provenance is not None


def test_a_file_must_say_what_it_is(built: Path, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "bare.h5", "w"):
        pass
    shutil.copy(next(built.glob("*.h5")), tmp_path / "future.h5")
    with h5py.File(tmp_path / "future.h5", "r+") as file:
        text = bytes(file["about"][()]).replace(b"megamed-2", b"megamed-9")
        del file["about"]
        file["about"] = np.array(text)
    with pytest.raises(OSError, match="signature"):
        Collection(tmp_path / "text.h5")
    with pytest.raises(ValueError, match="is no file of a collection"):
        Collection(tmp_path / "bare.h5")
    with pytest.raises(ValueError, match="of another version: format"):
        Collection(tmp_path / "future.h5")


def test_areas_are_those_of_all_rows(built: Path) -> None:
    with Collection(built) as collection:
        assert collection.areas(TASK).tolist() == [sample.area_px for sample in collection.samples(TASK)]


def test_sound_collection_has_no_problem(built: Path) -> None:
    assert verify(built) == []


def _spoil(built: Path, change: Change) -> list[str]:
    """Change a file, make the manifest agree with its hash, and verify."""
    manifest = read_manifest(built)
    entry = manifest.datasets["drawn"]
    with h5py.File(built / entry.file, "r+") as file:
        change(file["ct-drawn/2d"])
        samples = {name: len(array) for name, array in file["ct-drawn/2d/labels"].items()}
    views = (entry.views[0].model_copy(update={"samples": entry.views[0].samples | samples}),)
    changed = {"sha256": sha256_of(built / entry.file)} | ({"views": views} if "tumour" in samples else {})
    entry = entry.model_copy(update=changed)
    new = manifest.model_copy(update={"datasets": {"drawn": entry}})
    replace_file(built / "manifest.json", new.model_dump_json().encode())
    return verify(built)


def _soft_link(group: h5py.Group) -> None:
    group["more"] = h5py.SoftLink("/ct-drawn/2d/images")


def _external_link(group: h5py.Group) -> None:
    group["more"] = h5py.ExternalLink("/etc/other.h5", "/")


def _objects(group: h5py.Group) -> None:
    group.create_dataset("more", data=["a"], dtype=h5py.string_dtype())


def _external_storage(group: h5py.Group) -> None:
    group.create_dataset("more", (4,), "u1", external=[("secret.bin", 0, 4)])


def _virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((1,), "u1")
    layout[0] = h5py.VirtualSource("other.h5", "a", (1,))[0]
    group.create_virtual_dataset("more", layout)


def _cycle(group: h5py.Group) -> None:
    group["more"] = group.file["/"]


@pytest.mark.parametrize("change", [_soft_link, _external_link, _objects, _external_storage, _virtual, _cycle])
def test_files_reaching_outside_themselves_are_not_opened(built: Path, change: Change) -> None:
    (problem,) = _spoil(built, change)
    assert "not safe to open" in problem
    with Collection(built) as collection, pytest.raises(ValueError, match="not safe to open"):
        collection.image(TASK, 0)


def _grey_label(group: h5py.Group) -> None:
    group["labels/disc"][0, 0, 0] = 7


def _other_split(group: h5py.Group) -> None:
    group["split"][0] = b"val" if group["split"][1] != b"val" else b"test"


def _fewer_rows(group: h5py.Group) -> None:
    group["images"].resize(3, axis=0)


def _endless_table(group: h5py.Group) -> None:
    del group["case"]
    group.create_dataset("case", (10,), "S1000000000")


def _endless_labels(group: h5py.Group) -> None:
    group["labels/disc"].resize(2**40, axis=0)


def _other_header(group: h5py.Group) -> None:
    text = bytes(group.file["about"][()]).replace(b"CC0", b"MIT")
    del group.file["about"]
    group.file["about"] = np.array(text)


def _label_off_the_card(group: h5py.Group) -> None:
    """Here the manifest agrees; only the card does not."""
    for kind in ("labels", "areas"):
        group[f"{kind}/tumour"] = group[f"{kind}/disc"]


def _no_areas(group: h5py.Group) -> None:
    del group["areas/disc"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_label_off_the_card, "is not on the card"),
        (_other_header, "says other things of itself"),
        (_endless_table, "more than the file holds"),
        (_endless_labels, "wrong layout"),
        (_grey_label, "not binary"),
        (_other_split, "must be in one split"),
        (_fewer_rows, "wrong layout"),
        (_no_areas, "areas/disc is missing"),
    ],
)
def test_verify_finds(built: Path, change: Change, fault: str) -> None:
    assert any(fault in problem for problem in _spoil(built, change))


def test_verify_finds_a_missing_file(built: Path) -> None:
    next(built.glob("*.h5")).unlink()
    (problem,) = verify(built)
    assert problem.endswith(".h5 is missing. Build it again.")


@pytest.mark.parametrize(("content", "got"), [(None, "No such file or directory"), (b"", "file signature not found")])
def test_a_file_that_is_missing_or_none_is_named(built: Path, content: bytes | None, got: str) -> None:
    path = next(built.glob("*.h5"))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with Collection(built) as collection, pytest.raises(OSError, match=got) as caught:
        collection.samples(collection.tasks()[0])
    assert str(caught.value).startswith(f"{path} cannot be opened: expected a file of a collection, got: ")
    assert str(caught.value).endswith("Copy it there, or build it again.")


def test_verify_finds_a_changed_byte(built: Path) -> None:
    path = built / read_manifest(built).datasets["drawn"].file
    with h5py.File(path, "r") as file:
        pixel = file["ct-drawn/2d/images"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[pixel] ^= 1
    path.write_bytes(content)
    for damaged in (built, path):  # of a file alone, its name tells
        (problem,) = verify(damaged)
        assert "is changed" in problem
