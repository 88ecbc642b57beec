"""The plugin for napari: a manifest that its engine takes, and labels as the segmenter gives them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from incontext.page import napari_plugin
from incontext.page.napari_plugin import segment_layers, segment_rest
from tests.incontext.inference.test_editor import segmenter as prompted
from tests.incontext.page.test_store import segmenter
from tests.killed_runs import drawn

MANIFEST = Path(napari_plugin.__file__).with_name("napari.yaml")


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    monkeypatch.setattr(napari_plugin, "_segmenter", segmenter)
    image, label = drawn(0, 4)
    labels = np.zeros(label.shape, np.int32)
    labels[1] = label[1] * 3
    return image, labels


def test_the_manifest_names_the_function() -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    (widget,) = manifest.contributions.widgets
    (command,) = manifest.contributions.commands
    assert widget.command == command.id
    assert command.python_name == f"{segment_layers.__module__}:{segment_layers.__name__}"


def test_planes_without_labels_are_segmented_by_the_others(layers: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = layers
    found = segment_rest(image, labels)
    assert np.array_equal(found[1], labels[1])
    expected = segmenter().fit([image[1]], [labels[1]]).predict([image[2]]).masks[0]
    assert np.array_equal(found[2], expected)
    propagated = segment_rest(image, labels, propagate=True)
    assert np.array_equal(propagated[1], labels[1])


def test_points_are_clicks(layers: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(napari_plugin, "_segmenter", prompted)
    found = segment_rest(*layers, inside=np.array([[2.0, 5.2, 6.8]]), outside=np.array([[2, 20, 20], [0, 3, 3]]))
    assert found[2, 5, 7] == 3
    assert found[2, 20, 20] == found[0, 3, 3] == 0


def test_layers_are_taken_by_their_data(layers: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(napari_plugin, "_segmenter", prompted)
    clicked = np.array([[2.0, 5.2, 6.8]])
    image, labels, inside = (SimpleNamespace(data=each) for each in (*layers, clicked))
    assert np.array_equal(segment_layers(image, labels, inside), segment_rest(*layers, clicked))
    assert np.array_equal(segment_layers(image, labels), segment_rest(*layers))


def test_layers_that_do_not_fit_are_refused(layers: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = layers
    with pytest.raises(ValueError, match="layers do not fit"):
        segment_rest(image[0], labels[0])
    with pytest.raises(ValueError, match="nothing is labelled"):
        segment_rest(image, labels * 0)
