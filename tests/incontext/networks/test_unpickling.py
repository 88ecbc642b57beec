"""Whatever a file holds in place of tensors, the reason why it is refused is one line."""

import collections
import io
import pickle
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from incontext.networks.sealed import Damaged
from incontext.networks.unpickling import load_pickled

STATE = {f"layer.{i}.weight": torch.arange(12.0) + i for i in range(3)}
ZIPPED = (True, False)
ATTEMPTS = 60


def saved(value: object, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def damaged(content: bytes, rng: random.Random) -> Iterator[bytes]:
    for _ in range(ATTEMPTS):
        yield content[: rng.randrange(len(content))]
        place = rng.randrange(len(content))
        yield content[:place] + rng.randbytes(3) + content[place + 3 :]
        yield content[:place] + bytes(200) + content[place + 200 :]
        yield rng.randbytes(rng.randrange(200))
        yield b"\x80\x02" + rng.randbytes(rng.randrange(60))


def reason(content: bytes) -> str:
    """Why the content of a file is refused; empty if it is not."""
    try:
        load_pickled(content)
    except Damaged as error:
        return str(error)
    return ""


@pytest.mark.parametrize("zipped", ZIPPED)
def test_damaged_files_fail_in_one_line(zipped: bool) -> None:
    reasons = list(map(reason, damaged(saved(STATE, zipped), random.Random(0))))
    assert all(each.isprintable() and len(each) < 200 for each in reasons)
    assert sum(map(bool, reasons)) > 3 * ATTEMPTS  # an archive has room between its members, where nothing is read


def test_a_flipped_bit_of_a_tensor_is_noticed() -> None:
    content = saved(STATE, True)
    place = content.index(STATE["layer.1.weight"].numpy().tobytes())
    with pytest.raises(Damaged, match="another checksum of"):
        load_pickled(content[:place] + b"\x01" + content[place + 1 :])


def test_a_packed_archive_is_not_unpacked() -> None:
    """Torch would inflate a megabyte to a gigabyte."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(STATE, True))) as whole, zipfile.ZipFile(packed, "w") as other:
        for name in whole.namelist():
            other.writestr(name, whole.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(Damaged, match=r"a compressed .*, where torch compresses nothing"):
        load_pickled(packed.getvalue())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value", [print, collections.deque([1]), Path("x"), torch.nn.Linear, {"a": ValueError}], ids=str
)
def test_other_pickles_are_refused_without_running_them(value: object, protocol: int) -> None:
    told = reason(pickle.dumps(value, protocol))
    assert told
    assert told.isprintable()


@pytest.mark.parametrize("zipped", ZIPPED)
def test_whole_files_come_back(zipped: bool) -> None:
    assert all(map(torch.equal, load_pickled(saved(STATE, zipped)).values(), STATE.values()))
