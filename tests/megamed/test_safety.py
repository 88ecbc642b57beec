"""Files from strangers: each attack ends in a clear error, before memory, disk or other files are touched."""

import bz2
import gzip
import json
import math
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from megamed import Collection, DatasetCard, Task
from megamed.audit import audit
from megamed.build import BuildReport
from megamed.collection import verify
from megamed.manifest import read_manifest
from megamed.pixels import read_image
from megamed.readers import memory
from megamed.readers.arrays import read_array
from megamed.readers.dicom_headers import header_of
from megamed.readers.source import Source
from megamed.standardise import pad_to_square

Result = TypeVar("Result")
TASK = Task(dataset="drawn", modality="ct-drawn", axis="2d", label="disc")
SIZE_PX = 16
TEBIBYTE_ROWS = 2**40 // SIZE_PX**2
MANY_BYTES = 2**26


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail if more than 64 MiB are set aside at once."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MANY_BYTES


# ------------------------------------------------------------------------------------------------------------- HDF5


@pytest.fixture
def spoil(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> Callable[..., Path]:
    """Build a collection, change its file, and let its manifest say the same; returns the folder."""

    def run(change: Callable[[h5py.Group], None], **view: object) -> Path:
        build_folder(make_dataset(3))
        folder = tmp_path / "out"
        path = folder / read_manifest(folder).datasets["drawn"].file
        with h5py.File(path, "r+") as file:
            change(file["ct-drawn/2d"])
        facts = json.loads((folder / "manifest.json").read_text())
        facts["datasets"]["drawn"]["views"][0].update(view)
        (folder / "manifest.json").write_text(json.dumps(facts))
        return folder

    return run


def replaced(name: str, **array: object) -> Callable[[h5py.Group], None]:
    def change(group: h5py.Group) -> None:
        del group[name]
        group.create_dataset(name, **array)

    return change


def soft_link(group: h5py.Group) -> None:
    del group["labels/disc"]
    group["labels/disc"] = h5py.SoftLink("/ct-drawn/2d/labels/ring")


def external_link(group: h5py.Group) -> None:
    del group["images"]
    group["images"] = h5py.ExternalLink("/etc/other.h5", "/images")


def external_storage(group: h5py.Group) -> None:
    del group["images"]
    group.create_dataset("images", (6, SIZE_PX, SIZE_PX), "u1", external=[("/etc/passwd", 0, 6 * SIZE_PX**2)])


def virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((6, SIZE_PX, SIZE_PX), "u1")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "images", (6, SIZE_PX, SIZE_PX))
    del group["images"]
    group.create_virtual_dataset("images", layout)


def linked_group(group: h5py.Group) -> None:
    file = group.file
    del file["ct-drawn/2d"]
    file["ct-drawn/2d"] = h5py.ExternalLink("/etc/other.h5", "/")


def cycle(group: h5py.Group) -> None:
    group["labels/more"] = group


def declare_tebibyte(group: h5py.Group) -> None:
    for array in (group["images"], *group["labels"].values()):
        array.resize(TEBIBYTE_ROWS, axis=0)


ROW = (1, SIZE_PX, SIZE_PX)
HOSTILE: dict[str, tuple[Callable[[h5py.Group], None], dict[str, object]]] = {
    "soft link": (soft_link, {}),
    "external link": (external_link, {}),
    "external storage": (external_storage, {}),
    "virtual dataset": (virtual, {}),
    "linked group": (linked_group, {}),
    "cycle": (cycle, {}),
    "objects": (replaced("case", data=["a"] * 6, dtype=h5py.string_dtype()), {}),
    "references": (replaced("case", shape=(6,), dtype=h5py.ref_dtype), {}),
    "tebibyte in the file": (declare_tebibyte, {}),
    "tebibyte in both": (declare_tebibyte, {"rows": TEBIBYTE_ROWS}),
    "one chunk for all": (replaced("images", shape=(6, SIZE_PX, SIZE_PX), dtype="u1"), {}),
    "large chunks": (replaced("images", shape=(6, *ROW[1:]), dtype="u1", chunks=(6, *ROW[1:])), {}),
    "eight bytes a pixel": (replaced("images", shape=(6, *ROW[1:]), dtype="f8", chunks=ROW), {}),
    "long words": (replaced("subject", shape=(6,), dtype="S200000000"), {}),
    "numbers for words": (replaced("subject", data=np.arange(6)), {}),
    "words for numbers": (replaced("areas/disc", data=np.array([b"a"] * 6)), {}),
    "table of tables": (replaced("split", shape=(6, 1000, 1000), dtype="S5", chunks=True), {}),
    "other file": (lambda group: None, {"modality": "mri"}),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_hdf5_is_refused(spoil: Callable[..., Path], attack: str) -> None:
    change, view = HOSTILE[attack]
    folder = spoil(change, **view)
    path = folder / read_manifest(folder).datasets["drawn"].file
    task = TASK.model_copy(update={"modality": view.get("modality", TASK.modality)})
    with Collection(folder) as collection, little_memory():
        with pytest.raises(ValueError, match=rf"{path.name} (is not safe to open|has the wrong layout)"):
            collection.samples(task)
        with pytest.raises(ValueError, match=path.name):
            collection.image(task, 0)
    assert len(verify(folder)) > 0
    with pytest.raises(ValueError, match=path.name):
        audit(folder)


@pytest.mark.parametrize("name", ["../evil-0123456789ab.h5", "/evil-0123456789ab.h5", "a/b-0123456789ab.h5"])
def test_manifest_names_no_file_elsewhere(spoil: Callable[..., Path], name: str) -> None:
    path = spoil(lambda group: None) / "manifest.json"
    facts = json.loads(path.read_text())
    facts["datasets"]["drawn"]["file"] = name
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="not a manifest of this version"):
        Collection(path.parent)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(2000), b"no HDF5 at all"])
def test_broken_hdf5_is_refused(spoil: Callable[..., Path], content: bytes) -> None:
    folder = spoil(lambda group: None)
    path = folder / read_manifest(folder).datasets["drawn"].file
    path.write_bytes(content)
    with Collection(folder) as collection, pytest.raises((ValueError, OSError)):
        collection.samples(TASK)
    assert len(verify(folder)) == 1


# ----------------------------------------------------------------------------------------------- pictures and volumes


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(1000))
    chunks = (
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in (header, pixels)
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_oversized_picture_is_refused_before_decoding(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_header(width, height))
    with little_memory(), pytest.raises(ValueError, match=r"a\.png cannot be read: .*(pixels|declares|exceeds)"):
        read_image(Source((path,)))


def test_text_bomb_in_a_picture_is_refused(tmp_path: Path) -> None:
    text = b"zTXt" + b"Comment\x00\x00" + zlib.compress(bytes(2**28))
    path = tmp_path / "a.png"
    Image.new("L", (4, 4)).save(path)
    content = path.read_bytes()
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(content[:33] + chunk + content[33:])
    with little_memory(), pytest.raises(ValueError, match=r"a\.png cannot be read"):
        read_image(Source((path,)))


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "reason"),
    [
        ((1, 10_000_000), (1.0, 1.0), "too oblong"),
        ((24, 24), (1e-6, 1.0), "too oblong"),
        ((24, 24), (0.0, 1.0), "have no size"),
        ((24, 24), (float("nan"), 1.0), "have no size"),
        ((24, 24), (float("inf"), 1.0), "have no size"),
    ],
)
def test_squares_around_oblong_images_stay_small(
    shape: tuple[int, int], spacing_mm: tuple[float, float], reason: str
) -> None:
    image = np.zeros(shape, np.float32)
    with little_memory(), pytest.raises(ValueError, match=reason):
        pad_to_square(image, spacing_mm)


def nifti(path: Path, shape: tuple[int, ...], **fields: object) -> Path:
    nibabel = pytest.importorskip("nibabel")
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype("f8")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + bytes(4) + bytes(1000)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ((1000, 1000, 1000), {}),
        ((32767, 32767, 32767), {}),
        ((1, 1, 1), {"vox_offset": 1e9}),
        ((50, 50, 50), {}),
        ((5, 5, 5), {"datatype": 1792}),
        ((50, 50, 50), {"datatype": 128}),
        ((5, 5, 5), {"dim": [3, -5, 5, 5, 1, 1, 1, 1]}),
        ((5, 5, 5), {"dim": [7, 5, 5, 5, 1, 1, 1, 9]}),
        ((5, 5, 5), {"sform_code": 1, "srow_x": 0}),
    ],
)
def test_lying_nifti_header_is_refused(
    tmp_path: Path, suffix: str, shape: tuple[int, ...], fields: dict[str, object]
) -> None:
    path = nifti(tmp_path / f"a.{suffix}", shape, **fields)
    with little_memory(), pytest.raises(ValueError, match=rf"a\.{suffix} cannot be read") as raised:
        read_image(Source((path,)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"DimSize": "1000 1000 1000"}, "as much as its header declares"),
        ({"DimSize": "5 5 5"}, "expected 125 bytes, got 64"),
        ({"DimSize": "-4 -4 4"}, "at most"),
        ({"CompressedDataSize": "999999", "DimSize": "6 6 6"}, "expected 216 bytes, got 64"),
        ({"ElementDataFile": "/etc/passwd"}, "same folder"),
        ({"ElementDataFile": "LIST"}, "No such file"),
        ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, "affine is unusable"),
        ({"ElementSpacing": "nan 1 1"}, "affine is unusable"),
        ({"ElementType": "MET_OTHER"}, "cannot be read"),
        ({"ElementNumberOfChannels": "3"}, "expected 192 bytes, got 64"),
    ],
)
def test_lying_metaimage_header_is_refused(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    facts = {"NDims": "3", "DimSize": "4 4 4", "ElementType": "MET_UCHAR", "CompressedData": "True"}
    facts |= {"ElementDataFile": "LOCAL"} | change
    facts["ElementDataFile"] = facts.pop("ElementDataFile")  # the last line of a header
    header = "".join(f"{key} = {value}\n" for key, value in facts.items())
    (tmp_path / "a.mha").write_bytes(header.encode() + zlib.compress(bytes(64)))
    with little_memory(), pytest.raises(ValueError, match=rf"a\.mha cannot be read: .*{reason}|{reason}"):
        read_image(Source((tmp_path / "a.mha",)))


def nrrd(path: Path, content: bytes, **fields: str) -> Path:
    """Write a volume of 4 × 4 × 4 bytes with the content of its data."""
    pytest.importorskip("nrrd")
    pytest.importorskip("nibabel")
    facts = {"type": "uint8", "dimension": "3", "sizes": "4 4 4", "encoding": "gzip"} | fields
    header = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in facts.items())
    path.write_bytes(header.encode() + b"\n" + content)
    return path


BOMB_BYTES = 2**27


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress)], ids=["gzip", "bzip2"]
)
def test_an_nrrd_bomb_is_not_unpacked(tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """A few kilobytes unpack to gigabytes, though the header declares 64 bytes."""
    path = nrrd(tmp_path / "a.nrrd", pack(bytes(BOMB_BYTES)), encoding=encoding)
    with little_memory(), pytest.raises(ValueError, match=r"a\.nrrd cannot be read: expected at most 64 bytes"):
        read_image(Source((path,)))


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress)], ids=["gzip", "bzip2"]
)
def test_an_honest_volume_may_unpack_to_a_thousand_times_its_size(
    tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    voxels = np.zeros((100, 100, 100), np.uint8)
    voxels[50:52, 50:52, 50:52] = 3
    path = nrrd(tmp_path / "a.nrrd", pack(voxels.tobytes(order="F")), encoding=encoding, sizes="100 100 100")
    assert path.stat().st_size < voxels.size / 700
    np.testing.assert_array_equal(read_image(Source((path,))).array, voxels)


@pytest.mark.parametrize(("skip", "before"), [("0", b""), ("5", b"abcde"), ("-1", b"abcde")])
def test_packed_voxels_may_follow_other_bytes(tmp_path: Path, skip: str, before: bytes) -> None:
    voxels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    content = gzip.compress(before + voxels.tobytes(order="F"))
    path = nrrd(tmp_path / "a.nrrd", content, **{"byte skip": skip})
    np.testing.assert_array_equal(read_image(Source((path,))).array, voxels)


def test_a_deflated_dicom_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.save_as(tmp_path / "small.dcm", enforce_file_format=True)
    assert header_of(tmp_path / "small.dcm").SOPClassUID == pydicom.uid.CTImageStorage
    dataset.PixelData = bytes(BOMB_BYTES)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "bomb.dcm", enforce_file_format=True)
    monkeypatch.setattr("megamed.readers.dicom_headers.free_bytes", lambda: 8.0 * 2**20)
    with little_memory(), pytest.raises(ValueError, match=r"bomb\.dcm cannot be read: expected at most 1048576 bytes"):
        header_of(tmp_path / "bomb.dcm")


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_volume_must_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / f"a.{suffix}"
    nibabel.save(nibabel.Nifti1Image(np.zeros((60, 50, 40), np.uint8), np.eye(4)), path)
    monkeypatch.setattr(memory, "free_bytes", lambda: 900e3)
    with pytest.raises(ValueError, match=r"expected an image that fits .* got 60 × 50 × 40 voxels, which take"):
        read_image(Source((path,)))


def npy(shape: str, dtype: str = "<f8") -> bytes:
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(800)


@pytest.mark.parametrize(
    "content",
    [
        npy("(1000, 1000, 900)"),
        npy("(99999999999, 99999999999)"),
        npy("(-1, 10)"),
        npy("(10, 10)", "|O"),
        npy("(__import__('os').getcwd(), 10)"),
        b"\x93NUMPY",
        b"cos\nsystem\n",
    ],
)
def test_lying_npy_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with little_memory(), pytest.raises(ValueError, match=r"a\.npy cannot be read"):
        read_array(tmp_path / "a.npy")


# ---------------------------------------------------------------------------------------------------------- parsers

PATIENTLY = settings(deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FACTS = {"id": "a", "modality": "CT", "license": "CC0", "labels": {"1": "lung"}}
FIELDS = sorted(DatasetCard.model_fields)


def outcome(parse: Callable[[], Result]) -> tuple[Result | None, str]:
    """Return what was parsed, or the words of the error."""
    try:
        return parse(), ""
    except ValueError as error:
        return None, str(error)


@pytest.fixture(scope="module")
def card_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cards") / "card"


@PATIENTLY
@example(field="size_mb", value=math.inf)
@example(field="sequences", value={"a": [math.nan]})
@given(field=st.sampled_from(FIELDS), value=JSON)
def test_any_json_is_a_card_or_a_clear_error(card_path: Path, field: str, value: object) -> None:
    card_path.write_text(json.dumps(FACTS | {field: value}))
    card, message = outcome(lambda: DatasetCard.from_json(card_path))
    if card is None:
        assert message.startswith(f"{card_path.parent.name}/card is not")
    else:
        assert DatasetCard.model_validate_json(card.model_dump_json()) == card


@PATIENTLY
@given(text=st.text() | st.binary().map(lambda content: content.decode("latin-1")))
def test_any_text_is_a_card_or_a_clear_error(card_path: Path, text: str) -> None:
    card_path.write_text(text, encoding="utf-8", newline="")
    for parse in (DatasetCard.from_toml, DatasetCard.from_json):
        with pytest.raises(ValueError, match="card is not"):
            parse(card_path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b"a = " + b"[" * 100_000, b'{"a":' * 100_000])
def test_hostile_text_is_no_card(card_path: Path, content: bytes) -> None:
    card_path.write_bytes(content)
    for parse in (DatasetCard.from_toml, DatasetCard.from_json):
        with pytest.raises(ValueError, match="card is not readable"):
            parse(card_path)


@PATIENTLY
@given(text=st.text() | st.from_regex(r"[a-z0-9/_-]{0,30}", fullmatch=True))
def test_any_task_id_is_a_task_or_a_clear_error(text: str) -> None:
    task, message = outcome(lambda: Task.from_id(text))
    assert task.id == text if task else message
    assert ".." not in text or task is None


@pytest.mark.filterwarnings("ignore:Possible (nested set|set):FutureWarning")
@PATIENTLY
@given(
    pattern=st.text(max_size=20) | st.from_regex(r"[(|)*+?{}\[\]\\a-c0-9^$.]{0,12}", fullmatch=True),
    case=st.text(max_size=12),
)
def test_any_pattern_names_a_subject_or_fails_clearly(pattern: str, case: str) -> None:
    card = FACTS | {"subject_pattern": pattern}
    subject, message = outcome(lambda: DatasetCard.model_validate(card).subject_of(case))
    assert subject in case if subject else "subject" in message


@pytest.mark.parametrize("pattern", ["(a{99999999999999999999})", "(" * 10_000 + ")" * 10_000])
def test_oversized_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="no regular expression"):
        DatasetCard.model_validate(FACTS | {"subject_pattern": pattern})
