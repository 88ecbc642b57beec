"""Cards of the catalogue: complete, consistent, and true to the trees that they draw."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from megamed import Collection
from megamed.build import BuildReport
from megamed.catalogue import CardFilter, card_ids, card_path, cards, describe, load_card
from megamed.cli import app
from megamed.layouts import find_subjects, read_card
from megamed.schema import DatasetCard

RUNNER = CliRunner()

MEGAMEDICAL = {
    "ACDC": "acdc",
    "AMOS": "amos22_ct amos22_mr",
    "BBBC003": "bbbc003",
    "BraTS": "brats2020 brats2021",
    "BUS": "bus",
    "BrainDevelopment": "brain_development",
    "BrainMetShare": "brainmetshare",
    "CAMUS": "camus",
    "CHAOS": "chaos_ct chaos_mr",
    "CheXplanation": "chexplanation",
    "CoNSeP": "consep",
    "DDR": "ddr",
    "DRIVE": "drive",
    "E-Ophtha": "eophtha",
    "EPISURG": "episurg",
    "FLARE": "flare21 flare22",
    "FeTA": "feta",
    "FetoPlac": "fetoplac",
    "HMC-QU": "hmc_qu",
    "HRF": "hrf",
    "I2CVB": "i2cvb",
    "IDRiD": "idrid",
    "ISBI-MS": "isbi_ms",
    "ISBI-EM": "isbi_em",
    "ISLES": "isles22",
    "KiTS": "kits19",
    "LGG-FLAIR": "lgg_flair",
    "LiTS": "lits",
    "LUNA": "luna16",
    "M&Ms": "mnms",
    "MSD": "msd_brain msd_heart msd_liver msd_hippocampus msd_prostate msd_lung msd_pancreas msd_hepatic_vessel "
    "msd_spleen msd_colon",
    "MouseBrainAtlas": "mouse_brain_atlas",
    "OASIS": "oasis",
    "OCTA-500": "octa500",
    "PROMISE12": "promise12",
    "PanDental": "pandental",
    "PanNuke": "pannuke",
    "ROSE": "rose",
    "RibSeg": "ribseg",
    "SCD": "scd",
    "SegTHOR": "segthor",
    "SegThy": "segthy_mr segthy_us",
    "SpineWeb": "spineweb",
    "STARE": "stare",
    "BTCV": "btcv",
    "TUCC": "tucc",
    "TotalSegmentator": "totalsegmentator",
    "VerSe": "verse",
    "WBC": "wbc_dataset1 wbc_dataset2",
    "WMH": "wmh",
    "WORD": "word",
    "cDEMRIS": "cdemris",
}
ASKED_FOR = {
    "AMOS22": "amos22_ct amos22_mr",
    "FLARE22": "flare22",
    "KiTS21/23": "kits21 kits23",
    "SPIDER": "spider",
    "HECKTOR22": "hecktor22",
    "CT-ORG": "ct_org",
    "BUSI": "busi",
    "TN3K/DDTI": "tn3k ddti",
    "HC18": "hc18",
    "CheXmask": "chexmask",
    "PAXRay": "paxray",
    "JSRT": "jsrt",
    "Montgomery/Shenzhen": "montgomery shenzhen",
    "CHASE_DB1": "chase_db1",
    "REFUGE": "refuge",
    "ISIC 2018": "isic2018",
    "PH2": "ph2",
    "Kvasir-SEG/CVC": "kvasir_seg cvc_clinicdb cvc_colondb",
    "EndoVis 2017/18": "endovis2017 endovis2018",
    "MoNuSeg": "monuseg",
    "GlaS": "glas",
    "DSB2018": "dsb2018",
    "LIVECell": "livecell",
    "NCL-SM": "ncl_sm",
    "FairSeg": "fairseg",
    "LIDC": "lidc",
    "CURVAS": "curvas",
    "SA-Med2D-20M": "sa_med2d_20m",
    "IMed-361M": "imed361m",
    "MedTrinity-25M": "medtrinity_25m",
    "RadGenome-Chest CT": "radgenome_chest_ct",
    "CRCD": "crcd",
    "T-SYNTH": "tsynth",
    "DIS5K": "dis5k",
}


def tree_paths(tree: str) -> list[str]:
    """Read the files off a drawn tree; `a ...` stands for files like a, `a, b` for both."""
    paths, parents = [], []
    for line in tree.strip().splitlines():
        branch, name = re.fullmatch(r"((?:│   |    )*(?:[├└]── )?)(.+)", line).groups()
        parents[len(branch) // 4 :] = [name.removesuffix(" ...").rstrip("/")]
        if name != "..." and not name.endswith(("/", "/ ...")):
            *folders, last = parents
            paths += ["/".join([*folders, each]) for each in last.split(", ")]
    return paths


@pytest.fixture(params=card_ids())
def card(request: pytest.FixtureRequest) -> DatasetCard:
    return load_card(request.param)


def test_tree_is_read() -> None:
    tree = "a/\n├── b/c.png ...\n├── d/ ...\n└── e/\n    ├── f.nii\n    └── ...\ng.csv, h.csv"
    assert tree_paths(tree) == ["a/b/c.png", "a/e/f.nii", "g.csv", "h.csv"]


def test_every_dataset_has_a_card() -> None:
    wanted = " ".join([*MEGAMEDICAL.values(), *ASKED_FOR.values()]).split()
    assert set(wanted) == set(card_ids())


def test_ids_are_unique_and_name_their_files() -> None:
    assert [card.id for card in cards()] == card_ids()
    assert len(set(card_ids())) == len(card_ids())


def test_card_is_complete(card: DatasetCard) -> None:
    assert all((card.title, card.citation, card.modality, card.anatomy, card.facts))
    assert re.search(r"\b(19|20)\d\d\b|arXiv:\d{4}", card.citation)
    for text in (card.title, card.citation, card.facts, card.notes, card.homepage, card.license or ""):
        assert text == " ".join(text.split())


def test_addresses_are_well_formed(card: DatasetCard) -> None:
    text = f"{card.homepage} {card.citation} {card.notes}"
    for address in re.findall(r"\w+://[^\s)]+", text):
        parts = urlsplit(address)
        assert parts.scheme == "https"
        assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc)
    for doi in re.findall(r"doi:(\S+)", text):
        assert re.fullmatch(r"10\.\d{4,9}/[\w./-]+\w[;.]?", doi)


def test_access_comes_with_an_address(card: DatasetCard) -> None:
    assert card.homepage or card.access in (None, "request")


def test_labels_are_consistent(card: DatasetCard) -> None:
    assert list(card.labels) == sorted(card.labels)
    assert card.labels or not card.derived_labels
    if card.layout == "folder" and "{class}" in card.files.label:
        assert set(card.files.classes.values()) == set(card.labels)


def test_partners_agree(card: DatasetCard) -> None:
    for partner in card.shares_patients_with:
        assert card.id in load_card(partner).shares_patients_with


@pytest.mark.parametrize("dataset", [card.id for card in cards() if card.files.image or card.layout == "bids"])
def test_card_finds_the_files_of_its_tree(dataset: str, tmp_path: Path) -> None:
    card = load_card(dataset)
    for path in tree_paths(card.tree):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    subjects = find_subjects(tmp_path, card)
    assert subjects
    assert not [problem for subject in subjects for problem in subject.problems]
    assert all(case.images and case.labels for subject in subjects for case in subject.cases)


@pytest.mark.parametrize(
    ("dataset", "labels"),
    [
        ("idrid", {"microaneurysm", "haemorrhage", "hard-exudate", "soft-exudate", "optic-disc"}),
        ("chase_db1", {"vessel", "vessel-by-1st", "vessel-by-2nd"}),
        ("dsb2018", {"nucleus"}),
        ("wbc_dataset1", {"cytoplasm", "nucleus", "white-blood-cell"}),
    ],
)
def test_card_builds_what_its_tree_shows(
    dataset: str, labels: set[str], tmp_path: Path, build_folder: Callable[..., BuildReport]
) -> None:
    folder = tmp_path / dataset
    label = np.zeros((32, 32, 3), np.uint8)  # grey where it is a label, in colour where it is an image
    label[8:24, 8:16], label[8:24, 16:24] = 128, 255
    for path in map(folder.joinpath, tree_paths(load_card(dataset).tree)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(label if path.suffix in {".jpg", ".bmp"} else label[..., 0]).save(path)
    (folder / "card.toml").write_bytes(card_path(dataset).read_bytes())
    assert build_folder(folder).complete
    assert {task.label for task in Collection(tmp_path / "out").tasks()} == labels


def test_decathlon_trees_hold_what_the_layout_reads() -> None:
    decathlon = [card for card in cards() if card.layout == "msd"]
    assert len(decathlon) == 10
    for card in decathlon:
        description, image, label = tree_paths(card.tree)
        assert description == "dataset.json"
        assert Path(image).name == Path(label).name


def test_description_tells_all(card: DatasetCard) -> None:
    text = describe(card)
    assert all(line.strip() in text for line in card.tree.splitlines())
    assert " ".join(card.citation.split()) in " ".join(text.split())
    assert f"megamed show {card.id} --toml" in text
    assert ("Name the label values" in text) == (not card.labels)
    assert max(map(len, text.splitlines())) <= 200


def test_unknown_dataset_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"Unknown dataset 'acdcc'\. Did you mean 'acdc'\?"):
        card_path("acdcc")
    with pytest.raises(ValueError, match="Unknown dataset"):
        card_path("../catalogue/acdc")


@pytest.mark.parametrize(
    ("wanted", "accepted"),
    [
        (CardFilter(), True),
        (CardFilter(modality="ct"), True),
        (CardFilter(modality="T"), False),
        (CardFilter(modality="pet"), True),
        (CardFilter(anatomy="Abdo"), True),
        (CardFilter(anatomy="men"), False),
        (CardFilter(licence="CC BY"), False),
        (CardFilter(licence="cc by-nc"), True),
        (CardFilter(licence="open"), False),
        (CardFilter(licence="unknown"), False),
        (CardFilter(access="open"), True),
        (CardFilter(access="request"), False),
        (CardFilter(role="train"), True),
        (CardFilter(modality="CT", role="heldout"), False),
    ],
)
def test_filter(wanted: CardFilter, accepted: bool) -> None:
    card = DatasetCard(id="a", modality="PET/CT", anatomy="abdomen", license="CC BY-NC 4.0", access="open")
    assert wanted.accepts(card) is accepted


def test_filter_of_unknown_and_open_licences() -> None:
    unknown, free = (DatasetCard(id="a", modality="CT", license=licence) for licence in (None, "CC0 1.0"))
    assert CardFilter(licence="unknown").accepts(unknown)
    assert not CardFilter(licence="open").accepts(unknown)
    assert not CardFilter(licence="CC0").accepts(unknown)
    assert CardFilter(licence="open").accepts(free)


def test_commands() -> None:
    listed = json.loads(RUNNER.invoke(app, ["list", "--modality", "CT", "--licence", "open", "--json"]).stdout)
    assert {"msd_spleen", "totalsegmentator"} <= {row["dataset"] for row in listed}
    assert {row["modality"] for row in listed} == {"CT"}
    assert f"{len(card_ids())} datasets" in RUNNER.invoke(app, ["list"]).stdout
    assert RUNNER.invoke(app, ["list", "--anatomy", "moon"]).stdout == "0 datasets\n"
    assert "CC BY-NC-SA 4.0" in RUNNER.invoke(app, ["show", "acdc"]).stdout
    refused = RUNNER.invoke(app, ["show", "acdcc"])
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)


def test_shown_toml_is_the_card(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(RUNNER.invoke(app, ["show", "idrid", "--toml"]).stdout, encoding="utf-8")
    assert read_card(tmp_path) == load_card("idrid")
