"""The words beside the tensors of a weights file: configuration, provenance and calibration, each checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError

from incontext.networks.families import NetworkConfig, NetworkTable
from incontext.networks.quality import QualityModel

TEMPERATURES = (0.01, 100.0)
"""Least and largest temperature that a calibration has."""
LATER = ("extra_forbidden", "unknown_setting", "unknown_family")
"""Types of pydantic's errors at names that this version does not know."""


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Calibration(_Checked):
    """Result of `incontext.training.calibration.calibrate`."""

    model_config = ConfigDict(strict=True)

    temperature: float = Field(default=1.0, ge=TEMPERATURES[0], le=TEMPERATURES[1])
    ece_before: float | None = Field(default=None, ge=0, le=1)
    ece_after: float | None = Field(default=None, ge=0, le=1)
    datasets: list[str] = []
    quality: QualityModel | None = None

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Self:
        """Read the calibration in the metadata of weights; temperature 1 and no more if these were not calibrated."""
        return cls.model_validate(metadata.get("calibration") or {})


class _Open(BaseModel):
    """A record in which more may stand than is read here."""

    model_config = ConfigDict(frozen=True, extra="allow")


class _Episodes(_Open):
    licence: str = "any"


class _Training(_Open):
    episodes: _Episodes = _Episodes()


class _Provenance(_Open):
    datasets: dict[str, str] = {}
    training: _Training = _Training()


class _Metadata(_Checked):
    config: Json[NetworkTable]
    provenance: Json[_Provenance] | None = None
    calibration: Json[Calibration] | None = None
    format: str | None = None
    """Framework of the tensors, which some programs state."""


def checked_config(path: Path, metadata: Mapping[str, str]) -> NetworkConfig:
    """Check the metadata of a weights file, and return the configuration of its network.

    Args:
        path: The file, for messages.
        metadata: The metadata of the file, each a text in JSON.

    Raises:
        ValueError: If something in it is impossible, or unknown to this version.
    """
    try:
        return _Metadata.model_validate(dict(metadata)).config
    except ValidationError as error:
        raise ValueError(_told(path, error.errors(include_url=False)[0])) from error


def _told(path: Path, fault: Any) -> str:
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] == "unknown_family":
        family = fault["input"].get("family") if isinstance(fault["input"], dict) else fault["input"]
        return f"{path} is of an unknown family: {fault['msg']}, got {family!r:.80}. Update incontext-seg."
    if fault["type"] in LATER:
        msg = "expected what this version knows, got more" if fault["type"] == "extra_forbidden" else fault["msg"]
        return f"{path} was made by a later version, at {place}: {msg}. Update incontext-seg."
    msg = fault["msg"].removeprefix("Value error, ").removesuffix(".")
    return f"{path} has unusable metadata at {place}: {msg}, got {fault['input']!r:.80}. Save it anew."
