"""The lists of BIDS name the values of label maps below them, as far as their names say which."""

from pathlib import Path

import pytest

from megamed import formats
from megamed.annotation_tools import bids_names

LABEL = "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_desc-deep_dseg.nii.gz"


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("place", ["dseg.tsv", "derivatives/manual/desc-deep_dseg.tsv", LABEL.replace("nii.gz", "tsv")])
def test_a_list_anywhere_above_names_the_values(tmp_path: Path, place: str) -> None:
    label, table = written(tmp_path / LABEL, ""), tmp_path / place
    written(table, "index\tname\tcolor\n0\tBackground\t#000000\n1\tThalamus\t#ff0000\n17\tHippocampus\t\n")
    assert formats.names_beside(label) == ({1: "Thalamus", 17: "Hippocampus"}, table)


@pytest.mark.parametrize("name", ["desc-other_dseg.tsv", "sub-02_dseg.tsv", "participants.tsv"])
def test_a_list_of_other_label_maps_names_nothing(tmp_path: Path, name: str) -> None:
    written(tmp_path / name, "index\tname\n1\tThalamus\n")
    assert formats.names_beside(written(tmp_path / LABEL, "")) == ({}, None)
    assert formats.names_beside(written(tmp_path / "sub-01_mask.nii.gz", "")) == ({}, None)


def test_a_table_without_names_is_no_list(tmp_path: Path) -> None:
    assert not bids_names.recognises(written(tmp_path / "dseg.tsv", "value\tarea\n1\t5\n"))
