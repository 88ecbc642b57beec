"""Words: spellings and synonyms become one, words of one meaning do not become another's."""

import tomllib
from importlib.resources import files

import pytest

from megamed.terms import LANGUAGES, fold, grammar, likeness, misspelt, nearest_word, read, split_modalities

TABLE = tomllib.loads(files("megamed").joinpath("terms.toml").read_text(encoding="utf-8"))


def meant(text: str) -> frozenset[str]:
    return read(fold(text))[0].words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Oedema", "edemas"),
        ("grey matter", "Gray  Matter"),
        ("haemorrhages", "hemorrhage"),
        ("optic disks", "optic-disc"),
        ("fœtal", "foetal"),
        ("Nävus", "nävus"),
        ("Barrett’s", "barrett's"),
    ],
)
def test_spellings_are_folded(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("renal tumor", "kidney tumour"),
        ("Nierentumor", "kidney tumour"),
        ("tumour of the kidney", "kidney tumour"),
        ("cancer of the prostate", "prostate tumour"),
        ("Gefaess", "Gefäß"),
        ("ventricule gauche", "LV"),
        ("肝脏肿瘤", "liver tumour"),
        ("hipocampus", "hippocampus"),
        ("mitochondira", "mitochondria"),
        ("WhiteMatter", "white matter"),
        ("Nieren", "kidneys"),
        ("l'aorte", "aorta"),
        ("Lung_L", "left lung"),
        ("Hirnmetastasen", "brain metastasis"),
        ("retina vessel tree", "retinal vessel"),
    ],
)
def test_names_of_a_structure_are_read_alike(one: str, other: str) -> None:
    assert meant(one) == meant(other)


@pytest.mark.parametrize(
    "word", ["ileum", "ilium", "river", "diencephalon", "disorder", "papilloma", "masseter", "scar"]
)
def test_a_word_is_not_taken_for_the_misspelling_of_quite_another(word: str) -> None:
    assert meant(word) == {word}


def test_likeness_is_symmetric_and_one_of_a_word_with_itself() -> None:
    assert likeness("liver", "livr") == likeness("livr", "liver") < likeness("liver", "liver") == 1
    assert nearest_word("livr", ["river", "liver", "lover"])[0] == "liver"


def test_a_misspelling_slips_in_two_letters_at_most() -> None:
    assert nearest_word("hipocampsus", ["hippocampus"])[0] == "hippocampus"
    assert likeness("papillomas", "papilla") > 0.5
    assert nearest_word("papillomas", ["papilla"]) == ("papillomas", 0.0)


def test_what_is_misspelt_is_no_name_plural_or_compound() -> None:
    assert misspelt(fold("livr Nieren Nierentumor liver spec"), frozenset({"spec"})) == {"livr"}


def test_modalities_are_taken_out_with_all_that_they_are() -> None:
    assert split_modalities(fold("T2w MRI of the liver")) == ({"mr", "t2"}, ("of", "the", "liver"))


def test_a_name_means_what_it_names_in_each_language() -> None:
    for name, term in TABLE["terms"].items():
        own = {*fold(name), *fold(term.get("is", ""))}
        for other in (name, *(each for language in LANGUAGES for each in term.get(language, ()))):
            assert own in [reading.words for reading in grammar().forms[fold(other)]], other


def test_the_commonest_structures_have_names_in_five_languages() -> None:
    assert sum(all(language in term for language in LANGUAGES) for term in TABLE["terms"].values()) >= 100


def test_terms_have_no_other_fields() -> None:
    for term in TABLE["terms"].values():
        assert term.keys() <= {*LANGUAGES, "code", "is"}


def test_codes_are_those_of_dicom() -> None:
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["SCT"]
    known = {code for meanings in concepts.values() for code in meanings}
    coded = [term["code"] for term in TABLE["terms"].values() if "code" in term]
    assert len(coded) >= 90
    assert {code.removeprefix("SCT ") for code in coded} <= known


@pytest.mark.parametrize(("name", "meaning"), [("large bowel", "LargeIntestine"), ("optic disc", "OpticNerveHead")])
def test_codes_are_of_what_is_named(name: str, meaning: str) -> None:
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["SCT"]
    assert TABLE["terms"][name]["code"].removeprefix("SCT ") in concepts[meaning]
