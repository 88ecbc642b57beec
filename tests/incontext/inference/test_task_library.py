"""Libraries of tasks: what is added is found as it was, whoever adds meanwhile, and many are searched at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from incontext.folders.library_page import library_page
from incontext.inference.image_source import ImageSource
from incontext.inference.library_entries import Entries, Entry, Lines
from incontext.inference.task_library import INDEX, PAGE, NewTask, TaskLibrary, add_task, task_name
from incontext.networks.sealed import save_sealed
from megamed import files
from megamed.files import sha256_of

NETWORK = "0" * 64


def new_task(folder: Path, name: str, label: str = "liver", look: list[float] | None = None) -> NewTask:
    file = folder / f"{name}.source"
    file.write_bytes(f"task {name}".encode())
    entry = Entry(
        name=name,
        sha256=sha256_of(file),
        size_bytes=file.stat().st_size,
        classes={1: label},
        labelled_images=4,
        expected_dice={1: 0.9},
        picture_sha256=sha256_of(b"picture"),
        sources=(ImageSource(title=f"Data <of> {name}", licence="CC0"),),
    )
    return NewTask(file, entry, None if look is None else np.array(look, np.float32), b"picture")


def filled(tmp_path: Path, **classes: str) -> Path:
    library = tmp_path / "library"
    for name, label in classes.items():
        add_task(library, new_task(tmp_path, name, label), NETWORK, library_page)
    return library


def test_what_is_added_is_found(tmp_path: Path) -> None:
    library = filled(tmp_path, one="liver", two="optic disc")
    opened = TaskLibrary.open(library)
    assert [entry.name for entry in opened.entries] == ["one", "two"]
    assert opened.file("two").read_bytes() == b"task two"
    assert not list(opened.verify())
    assert opened.entries[0].row()["licence"] == "CC0"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("liver", ["one"]),
        ("DISC", ["two"]),
        ("data <of>", ["one", "two"]),
        ("Leber", ["one"]),
        ("spleen", []),
        ("", ["one", "two"]),
    ],
)
def test_words_find_tasks_by_letters_or_by_meaning(words: str, found: list[str], tmp_path: Path) -> None:
    library = TaskLibrary.open(filled(tmp_path, one="liver", two="optic disc"))
    assert [entry.name for entry in library.search(words)] == found


@pytest.mark.parametrize(
    ("words", "found"),
    [("Leber", ["one"]), ("Leber im CT", ["one"]), ("hepatic lesion of the foie", []), ("gland", [])],
)
def test_what_is_meant_is_found_by_what_a_task_tells_of_its_images(
    words: str, found: list[str], tmp_path: Path
) -> None:
    library = TaskLibrary.open(filled(tmp_path, one="liver", two="tumour"))
    assert [entry.name for entry in library.search(words)] == found


def test_a_class_and_the_source_of_its_images_are_what_is_meant_together(tmp_path: Path) -> None:
    task = new_task(tmp_path, "one", "tumour")
    sources = (ImageSource(title="Kidneys of 2019", licence="CC0"),)
    of_kidney = NewTask(task.file, task.entry.model_copy(update={"sources": sources}), None, b"picture")
    library = add_task(tmp_path / "library", of_kidney, NETWORK, library_page)
    library = add_task(tmp_path / "library", new_task(tmp_path, "two", "tumour"), NETWORK, library_page)
    assert [entry.name for entry in library.search("Nierentumor")] == ["one"]


def test_entries_are_read_as_they_were_written(tmp_path: Path) -> None:
    entries = [new_task(tmp_path, name, label).entry for name, label in (("a", "line\nbreak"), ("肝", '"tab\t'))]
    opened = Entries.of_tensors(Entries.of(entries).tensors)
    assert list(opened) == opened[:2] == entries
    assert opened == Entries.of(entries)
    assert [opened.named(name) for name in ("a", "肝", "b")] == [0, 1, None]
    assert list(opened.search("line break")) == entries[:1]


@pytest.mark.parametrize("words", ["Leber", "foie"])
def test_a_task_whose_classes_have_no_names_is_found_by_its_own(words: str, tmp_path: Path) -> None:
    library = TaskLibrary.open(filled(tmp_path, **{"liver": "1", "optic-disc": "2"}))
    assert [entry.name for entry in library.search(words)] == ["liver"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda pictures: (pictures / "one.png").unlink(), "one.png is missing"),
        (lambda pictures: (pictures / "one.png").write_bytes(b"other"), "one.png was changed"),
        (lambda pictures: (pictures / "two.png").write_bytes(b"other"), "two.png is in no entry"),
    ],
)
def test_pictures_are_verified_and_mended(damage: Callable[[Path], object], told: str, tmp_path: Path) -> None:
    library = filled(tmp_path, one="liver")
    damage(library / "pictures")
    (fault,) = TaskLibrary.open(library).verify()
    assert told in fault
    (library / "pictures" / told.split()[0]).unlink(missing_ok=True)
    add_task(library, new_task(tmp_path, "one"), NETWORK, library_page)
    assert not list(TaskLibrary.open(library).verify())


def test_adding_again_changes_nothing_and_mends_a_file(tmp_path: Path) -> None:
    library = filled(tmp_path, one="liver")
    before = TaskLibrary.open(library).entries
    (library / "tasks" / "one.task").unlink()
    add_task(library, new_task(tmp_path, "one"), NETWORK, library_page)
    assert TaskLibrary.open(library).entries == before
    assert not list(TaskLibrary.open(library).verify())


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    library = filled(tmp_path, one="liver")
    other = new_task(tmp_path, "two")
    taken = NewTask(other.file, other.entry.model_copy(update={"name": "one"}), None, b"")
    with pytest.raises(ValueError, match=r"'one' is taken: .*--name"):
        add_task(library, taken, NETWORK, library_page)
    assert not list(TaskLibrary.open(library).verify())


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.unlink(), "one.task is missing"),
        (lambda path: path.write_bytes(b"task two"), "one.task was changed: expected SHA-256"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "one.task was changed"),
        (lambda path: path.with_name("three.task").write_bytes(b""), "three.task is in no entry"),
    ],
)
def test_damage_is_found(damage: Callable[[Path], object], told: str, tmp_path: Path) -> None:
    library = TaskLibrary.open(filled(tmp_path, one="liver", two="optic disc"))
    damage(library.folder / "tasks" / "one.task")
    (fault,) = library.verify()
    assert told in fault
    if "in no entry" not in told:
        with pytest.raises(ValueError, match=told):
            library.file("one")


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    index = filled(tmp_path, one="liver") / INDEX
    content = index.read_bytes()
    for damaged in (b"", content[:-1], content.replace(b"liver", b"river")):
        index.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged: expected the index of a library") as refused:
            TaskLibrary.open(index.parent)
        assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": "../../secret"}, "expected the name of a task, got '../../secret'"),
        ({"name": ""}, "expected the name of a task, got ''"),
        ({"sha256": "<script>"}, "should match pattern"),
        ({"picture_sha256": "<script>"}, "should match pattern"),
        ({"expected_dice": {2: 0.5}}, "classes that the task has, got it of 2"),
    ],
)
def test_an_index_that_a_stranger_wrote_leads_nowhere_else(
    changed: dict[str, object], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "secret.task").write_bytes(b"task one")
    library = filled(tmp_path, one="liver")
    strange = TaskLibrary.open(library).entries[0].model_copy(update=changed)
    tensors = Entries.of([strange]).tensors | {"looks": torch.zeros(1, 0)}
    save_sealed(tensors, library / INDEX, {"network": NETWORK})
    uses: list[Callable[[TaskLibrary], object]] = [
        lambda opened: opened.file(strange.name),
        lambda opened: list(opened.entries),
        lambda opened: list(opened.verify()),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="index of the library is damaged") as refused:
            use(TaskLibrary.open(library))
        assert expected in str(refused.value)


def test_who_adds_meanwhile_waits_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PAUSE_S", 0.001)
    tasks = [new_task(tmp_path, f"task{index}") for index in range(6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda task: add_task(tmp_path / "library", task, NETWORK, library_page), tasks))
    opened = TaskLibrary.open(tmp_path / "library")
    assert sorted(entry.name for entry in opened.entries) == [f"task{index}" for index in range(6)]
    assert not list(opened.verify())
    assert not [path for path in opened.folder.rglob("*") if path.name.endswith((".part", ".lock"))]


def test_a_failure_leaves_the_index_that_was_there(tmp_path: Path) -> None:
    library = filled(tmp_path, one="liver")
    before = (library / INDEX).read_bytes()

    class Killed(BaseException):
        """A process that ends at once."""

    task = new_task(tmp_path, "two")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TaskLibrary, "write_index", lambda self: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            add_task(library, task, NETWORK, library_page)
    assert (library / INDEX).read_bytes() == before
    assert [fault for fault in TaskLibrary.open(library).verify() if "two.task is in no entry" in fault]
    add_task(library, task, NETWORK, library_page)
    assert not list(TaskLibrary.open(library).verify())


def test_a_page_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / PAGE).write_text("mine")
    with pytest.raises(ValueError, match="somebody's own"):
        add_task(library, new_task(tmp_path, "one"), NETWORK, library_page)
    assert [path.name for path in library.iterdir() if not path.name.startswith(".")] == [PAGE]


def test_the_page_shows_all_and_runs_nothing(tmp_path: Path) -> None:
    text = (filled(tmp_path, one="liver", two="<b>disc</b>") / PAGE).read_text()
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "&lt;b&gt;disc&lt;/b&gt;" in text
    assert "<b>disc" not in text
    assert 'src="pictures/one.png"' in text
    assert sha256_of(b"task one") in text


def test_the_most_alike_come_first(tmp_path: Path) -> None:
    looks = {"right": [0.0, 1.0], "near": [0.6, 0.8], "far": [1.0, 0.0], "code": None}
    for name, look in looks.items():
        library = add_task(tmp_path / "library", new_task(tmp_path, name, look=look), NETWORK, library_page)
    asked = np.array([0.0, 1.0], np.float32)
    for opened in (library, TaskLibrary.open(tmp_path / "library")):
        found = opened.nearest(asked)
        assert [entry.name for entry, _ in found] == ["right", "near", "far"]
        assert [likeness for _, likeness in found] == pytest.approx([1.0, 0.8, 0.0], abs=1e-3)
        assert [entry.name for entry, _ in opened.nearest(asked, 1)] == ["right"]


def test_looks_of_other_weights_are_not_compared(tmp_path: Path) -> None:
    library = filled(tmp_path, one="liver")
    with pytest.raises(ValueError, match="was made with other weights"):
        add_task(library, new_task(tmp_path, "two"), "1" * 64, library_page)


def test_a_task_is_found_among_a_hundred_thousand(tmp_path: Path) -> None:
    looks = np.random.default_rng(0).random((100_000, 371), np.float32) - np.float32(0.5)
    one = Entries.of([new_task(tmp_path, "one").entry])
    entries = Entries(*(Lines(each.content * len(looks)) for each in (one.records, one.words, one.labels)))
    library = TaskLibrary(tmp_path, entries, looks, NETWORK)
    for index in (5, 77_777, len(looks) - 1):
        likeness = [likeness for _, likeness in library.nearest(looks[index])]
        assert likeness[0] == pytest.approx(float(looks[index] @ looks[index]), rel=1e-5)
        assert likeness == sorted(likeness, reverse=True)
        assert likeness[1] < likeness[0] / 2


def test_of_what_is_found_only_what_is_looked_at_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Entries.of(new_task(tmp_path, f"liver-{index}").entry for index in range(20))
    whole, read = Entries.read, list[int]()
    monkeypatch.setattr(Entries, "read", lambda self, index: read.append(index) or whole(self, index))
    for words in ("liver", "er liv", ""):
        found = entries.search(words)
        assert len(found) == 20
        assert [each.name for each in found[-2:]] == ["liver-18", "liver-19"]
        assert len(read) <= 10  # those two, and a few by the checker of types
        read.clear()


@pytest.mark.parametrize("text", ["", "…", "/"])
def test_names_have_letters(text: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        task_name(text)
