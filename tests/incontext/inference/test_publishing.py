"""What is published is what is loaded; images go along only where their licence lets them; nobody's files are lost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.inference import publishing
from incontext.inference.hub import HubError
from incontext.inference.image_source import ImageSource
from incontext.inference.publishing import Publication, Terms, check_images
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from tests.incontext.hub_server import Fault, HubServer, serving, silent

pytest.importorskip("huggingface_hub")
NAME = "owner/name"
LABELS = [np.pad(np.ones((12, 8 + i), dtype=np.uint8), ((6, 14), (5, 19 - i))) for i in range(5)]
IMAGES = [90 * label + np.arange(label.size, dtype=np.uint8).reshape(label.shape) % 40 for label in LABELS]
OPEN = ImageSource(title="Cells | 1", licence="CC BY 4.0")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))
    checkpoint.save(path, network, {"datasets": {"cells": "CC0"}})
    return path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def fitted(weights: Path, *sources: ImageSource) -> Segmenter:
    segmenter = Segmenter(weights, size_px=32, device="cpu").fit(IMAGES[1:], LABELS[1:], {1: "cell"})
    segmenter.credit(*sources)
    return segmenter


@pytest.mark.parametrize("terms", [{}, {"codes_only": True}], ids=["whole", "codes"])
def test_a_task_comes_back_with_its_weights(terms: dict[str, Any], weights: Path, server: HubServer) -> None:
    ours = fitted(weights, OPEN)
    assert ours.push_to_hub(NAME, "A. Uthor", **terms) == f"{server.endpoint}/{NAME}"
    theirs = Segmenter.load_task(NAME, device="cpu")
    np.testing.assert_array_equal(theirs.predict(IMAGES[0]).probabilities[0], ours.predict(IMAGES[0]).probabilities[0])
    assert theirs.image_sources == (OPEN,)
    files = server.files[NAME]
    assert files.keys() == {".gitattributes", "README.md", "incontext.json", "task.safetensors", "tiny.safetensors"}
    card = files["README.md"].decode()
    assert 'license: "cc-by-4.0"' in card
    assert "| Cells \\| 1 | CC BY 4.0 |" in card
    assert "| 1 | cell | 4 | 0." in card
    assert ("This code still shows traces" in card) == bool(terms)


def test_weights_come_back(weights: Path, server: HubServer) -> None:
    Segmenter(weights, device="cpu").push_to_hub(NAME, licence="Apache-2.0")
    loaded = Segmenter.from_pretrained(NAME, "cpu", revision="main")
    assert loaded._load().sha256 == Segmenter(weights)._load().sha256
    assert "| cells | CC0 |" in server.files[NAME]["README.md"].decode()
    assert json.loads(server.files[NAME]["incontext.json"])["licence"] == "Apache-2.0"


def test_a_task_of_packaged_weights_comes_without_them(server: HubServer) -> None:
    segmenter = Segmenter(size_px=32, device="cpu").fit(IMAGES[:1], LABELS[:1])
    segmenter.push_to_hub(NAME, licence="CC0")
    assert [name for name in server.files[NAME] if name.endswith(".safetensors")] == ["task.safetensors"]
    assert Segmenter.load_task(NAME, device="cpu").weights == "default"


@pytest.mark.parametrize(
    ("sources", "terms"),
    [
        ([], {}),
        ([], {"licence": "free for research"}),
        ([OPEN, ImageSource(title="x", licence="")], {"licence": "CC BY 4.0"}),
        ([ImageSource(title="x", licence="CC BY-NC-ND 4.0")], {}),
    ],
)
def test_images_that_may_not_be_shared_stay_here(
    sources: list[ImageSource], terms: dict[str, Any], weights: Path, server: HubServer
) -> None:
    with pytest.raises(ValueError, match="expected a licence that surely lets them be passed on, got") as refused:
        fitted(weights, *sources).push_to_hub(NAME, **terms)
    assert "--codes-only" in str(refused.value)
    assert not server.asked
    for told in ({"codes_only": True}, {"anyway": True}):
        check_images(sources, Terms(**{**terms, **told}))


def test_of_several_licences_none_is_that_of_the_whole(tmp_path: Path) -> None:
    other = ImageSource(title="Hearts", licence="CC0")
    for sources, whole in (((OPEN,), "CC BY 4.0"), ((OPEN, OPEN), "CC BY 4.0"), ((OPEN, other), ""), ((), "")):
        assert Publication("task", [tmp_path], sources, {}).common_licence == whole


def test_licences_that_are_stated_count(weights: Path) -> None:
    check_images([], Terms(licence="CC BY-NC-SA 4.0"))
    check_images([OPEN], Terms())


def test_examples_that_join_those_of_a_source_have_the_licence_that_is_stated(
    weights: Path, server: HubServer, tmp_path: Path
) -> None:
    segmenter = fitted(weights, OPEN)
    assert segmenter.image_sources == (OPEN,)
    for _ in range(2):
        assert segmenter.add(IMAGES[0], LABELS[0]).image_sources == (OPEN, ImageSource())
    segmenter = Segmenter.load_task(segmenter.save_task(tmp_path / "a.task"), weights=weights, device="cpu")
    with pytest.raises(ValueError, match=r"images of no named source: expected .* say so \(--licence\)"):
        segmenter.push_to_hub(NAME)
    segmenter.push_to_hub(NAME, licence="CC0")
    assert Segmenter.load_task(NAME, device="cpu").image_sources == (OPEN, ImageSource())
    card = server.files[NAME]["README.md"].decode()
    assert "CC BY 4.0" in card
    assert "| images of no named source | CC0 |" in card


def test_examples_that_join_others_of_no_source_name_none(weights: Path) -> None:
    assert fitted(weights).add(IMAGES[0], LABELS[0]).image_sources == ()


def test_publishing_again_replaces_what_was_published(weights: Path, server: HubServer) -> None:
    fitted(weights, OPEN).push_to_hub(NAME)
    Segmenter(size_px=32, device="cpu").fit(IMAGES[:1], LABELS[:1]).push_to_hub(NAME, licence="CC0")
    assert [name for name in server.files[NAME] if name.endswith(".safetensors")] == ["task.safetensors"]


def test_something_else_is_not_touched(weights: Path, server: HubServer) -> None:
    server.files[NAME] = {".gitattributes": b"", "model.bin": b"mine"}
    with pytest.raises(HubError, match="expected an empty repository"):
        fitted(weights, OPEN).push_to_hub(NAME)
    assert server.files[NAME].keys() == {".gitattributes", "model.bin"}


@pytest.mark.parametrize(
    ("place", "status", "told"),
    [
        ("create", 401, "hf auth login"),
        ("create", 403, "expected a token that may write there, got status 403"),
        ("create", 500, "expected an answer, got status 500"),
        ("preupload/main", 429, "Wait some minutes"),
        ("commit/main", 500, "Give the same command again"),
        ("commit/main", 200, "Check HF_ENDPOINT"),
    ],
)
def test_a_refusal_is_one_line(place: str, status: int, told: str, weights: Path, server: HubServer) -> None:
    server.faults[place] = lambda handler: handler.answer(b"<html>", status)
    with pytest.raises(HubError, match=told) as refused:
        fitted(weights, OPEN).push_to_hub(NAME)
    assert len(str(refused.value).splitlines()) == 1
    assert "task.safetensors" not in server.files.get(NAME, {})


SENT = ("README.md", "incontext.json", "task.safetensors", "tiny.safetensors")


def preupload(**told: Any) -> Fault:
    return lambda handler: handler.tell({"files": [{"path": name, "uploadMode": "lfs", **told} for name in SENT]})


@pytest.mark.parametrize(
    ("place", "fault", "told"),
    [
        ("create", lambda handler: handler.tell(None), "expected answers of a hub, got TypeError"),
        ("validate-yaml", lambda handler: handler.tell([]), "expected answers of a hub, got AttributeError"),
        ("preupload/main", lambda handler: handler.tell(None), "expected answers of a hub, got AttributeError"),
        ("preupload/main", preupload(shouldIgnore=True), "expected all that was sent to be there, got none of README"),
        ("preupload/main", preupload(shouldIgnore=False), "expected an answer, got"),
        ("commit/main", lambda handler: setattr(handler, "close_connection", True), "expected an answer, got"),
    ],
)
def test_a_hub_that_is_none_takes_nothing(
    place: str, fault: Fault, told: str, weights: Path, server: HubServer
) -> None:
    server.faults[place] = fault
    with pytest.raises(HubError, match=told) as refused:
        fitted(weights, OPEN).push_to_hub(NAME)
    assert len(str(refused.value).splitlines()) == 1
    assert "task.safetensors" not in server.files.get(NAME, {})


@pytest.mark.parametrize("place", ["create", "owner/name", "validate-yaml", "preupload/main", "commit/main"])
def test_a_silent_hub_is_not_waited_for(
    place: str, weights: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults[place] = silent
    ours = fitted(weights, OPEN)
    monkeypatch.setattr(publishing, "TIMEOUT_S", 0.2)
    with pytest.raises(HubError, match="expected an answer, got ReadTimeout"):
        ours.push_to_hub(NAME)


def test_weights_of_an_odd_name_are_refused(weights: Path, server: HubServer, tmp_path: Path) -> None:
    odd = tmp_path / "my weights.safetensors"
    odd.write_bytes(weights.read_bytes())
    with pytest.raises(ValueError, match="Rename it"):
        Segmenter(odd, device="cpu").push_to_hub(NAME)


def test_weights_from_no_file_cannot_be_published(server: HubServer) -> None:
    with pytest.raises(ValueError, match="expected weights that come from a file"):
        Segmenter(torch.nn.Identity()).push_to_hub(NAME)
