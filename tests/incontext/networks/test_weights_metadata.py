"""What stands beside the tensors of a weights file is checked like any other input."""

import json
from pathlib import Path

import pytest

from incontext.networks.families import describe
from incontext.networks.support_once import SupportOnceConfig
from incontext.networks.weights_metadata import checked_config

CONFIG = SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)
QUALITY = {"bias": 0.1, "confidence": 1.0, "coverage": 0.3, "flag_below": 0.6}
PATH = Path("mine.safetensors")


def metadata(**changes: object) -> dict[str, str]:
    told = {"config": describe(CONFIG), "provenance": {"seed": 1}, "calibration": {"temperature": 1.2}}
    return {name: json.dumps(value) for name, value in (told | changes).items()}


def test_what_is_right_passes() -> None:
    assert checked_config(PATH, metadata(calibration={"temperature": 0.8, "quality": QUALITY})) == CONFIG
    assert checked_config(PATH, {"config": metadata()["config"], "format": "pt"}) == CONFIG


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *[
            ("calibration", {"temperature": value})
            for value in (0, -1, 1e-9, 1e9, float("nan"), float("inf"), "warm", "1.2", True)
        ],
        *[
            ("calibration", {"quality": QUALITY | change})
            for change in (
                {"bias": float("nan")},
                {"confidence": float("inf")},
                {"coverage": 1e300},
                {"flag_below": 2},
                {"measured": {"error": float("nan")}},
            )
        ],
        ("calibration", [1.0]),
        ("provenance", {"datasets": ["cells"]}),
        ("provenance", {"training": {"episodes": "all"}}),
        *[
            ("config", describe(CONFIG) | change)
            for change in (
                {"channels": [10**12, 8, 8, 8]},
                {"channels": [8] * 1000},
                {"channels": [0, 8, 8, 8]},
                {"channels": "wide"},
                {"channels": [8.5, 8, 8, 8]},
                {"heads": 10**9},
                {"heads": None},
                {"groups": 0},
                {"groups": -4},
                {"fitted_channels": -1},
                {"head_channels": 2**40},
            )
        ],
        ("config", {"family": "cross-block", "encoder_channels": [10**10, 4], "decoder_channels": [4]}),
        ("config", [1]),
    ],
    ids=lambda each: each if isinstance(each, str) else json.dumps(each)[:60],
)
def test_what_is_impossible_is_refused_in_one_line(part: str, value: object) -> None:
    with pytest.raises(
        ValueError, match=r"^mine\.safetensors (has unusable metadata at|is of an unknown family)"
    ) as found:
        checked_config(PATH, metadata(**{part: value}))
    assert str(found.value).isprintable()


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '"\ud800"', "1" * 5000], ids=["empty", "cut", "deep", "half", "long"]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^mine\.safetensors ") as found:
        checked_config(PATH, metadata() | {"config": text})
    assert str(found.value).isprintable()


@pytest.mark.parametrize(
    ("part", "value", "name"),
    [
        ("calibration", {"temperature": 1.0, "bins": 15}, "calibration.bins"),
        ("calibration", {"quality": QUALITY | {"texture": 0.1}}, "texture"),
        ("config", describe(CONFIG) | {"experts": 4}, "experts"),
        ("presence", {"bias": 0.5}, "presence"),
    ],
)
def test_what_is_unknown_is_of_a_later_version(part: str, value: object, name: str) -> None:
    with pytest.raises(ValueError, match=rf"made by a later version.*{name}.*Update incontext-seg\."):
        checked_config(PATH, metadata(**{part: value}))
