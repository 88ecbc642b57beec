"""The backend of Label Studio: its routes, masks as its files have them, and nothing outside of the folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient

from incontext.page.label_studio_server import build_backend
from megamed.annotation_tools.label_studio import read
from tests.incontext.page.test_store import plain_folder, segmenter
from tests.killed_runs import drawn

CONFIGURATION = '<View><Image name="picture" value="$image"/><BrushLabels name="brush" toName="picture"/></View>'


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    image, label = drawn(0)
    fitted = segmenter().fit([image[0]], [label[0]], {1: "nodule"})
    with TestClient(build_backend(fitted, plain_folder(tmp_path / "in"))) as found:
        yield found


def test_it_can_be_connected(client: TestClient) -> None:
    assert client.get("/health").json()["status"] == "UP"
    version = client.post("/setup", json={"project": "1.2", "schema": CONFIGURATION}).json()["model_version"]
    assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 200
    (found,) = client.post("/predict", json={"tasks": [{"data": {"image": "a.png"}}]}).json()["results"]
    assert found["model_version"] == version


def test_masks_are_those_of_the_segmenter_under_the_names_of_the_project(client: TestClient, tmp_path: Path) -> None:
    addresses = ["/data/upload/3/0123abcd-b.png", "/data/local-files/?d=c.png"]
    tasks = [{"id": number, "data": {"image": each}} for number, each in enumerate(addresses)]
    found = client.post("/predict", json={"tasks": tasks, "label_config": CONFIGURATION}).json()["results"]
    image, label = drawn(0)
    expected = segmenter().fit([image[0]], [label[0]], {1: "nodule"})
    for task, prediction, name in zip(tasks, found, "bc", strict=True):
        (region,) = prediction["result"]
        assert (region["from_name"], region["to_name"]) == ("brush", "picture")
        (tmp_path / "read.json").write_text(json.dumps([task | {"predictions": [prediction]}]))
        (read_back,) = read(tmp_path / "read.json")
        (shape,) = read_back.shapes
        mask = expected.predict(np.asarray(Image.open(tmp_path / "in" / f"{name}.png"))).masks[0]
        assert shape.class_name == "nodule"
        assert np.array_equal(shape.mask.pixels(), mask == 1)


def test_an_image_that_is_missing_leaves_the_others_their_masks(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    tasks = [{"id": number, "data": {"image": each}} for number, each in enumerate(("z.png", "b.png", "broken.png"))]
    missing, found, broken = client.post("/predict", json={"tasks": tasks}).json()["results"]
    (alone,) = client.post("/predict", json={"tasks": tasks[1:2]}).json()["results"]
    assert found["score"] == alone["score"]
    assert [each["rle"] for each in (region["value"] for region in found["result"])] == [
        each["rle"] for each in (region["value"] for region in alone["result"])
    ]
    assert missing["result"] == broken["result"] == []
    assert "image is unknown" in missing["error"]
    assert "broken.png" in broken["error"]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "/data/local-files/?d=../secret.png", "z.png", ""])
def test_nothing_outside_of_the_folder_is_read(client: TestClient, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes((tmp_path / "in" / "a.png").read_bytes())
    answer = client.post("/predict", json={"tasks": [{"data": {"image": name}}]})
    assert answer.status_code == 404
    assert "image is unknown" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("configuration", "detail"),
    [
        ("<View>", "is no XML"),
        ('<View><Image name="image" value="$image"/><RectangleLabels name="tag" toName="image"/></View>', "no masks"),
    ],
)
def test_a_configuration_that_takes_no_masks_is_refused(client: TestClient, configuration: str, detail: str) -> None:
    answer = client.post("/predict", json={"tasks": [{"data": {"image": "a.png"}}], "label_config": configuration})
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("data", "status", "detail"),
    [
        ({"image": "broken.png"}, 422, "broken.png"),
        ({"image": "http://["}, 422, "Invalid IPv6 URL"),
        (["a.png"], 404, "image is unknown"),
    ],
)
def test_a_task_that_cannot_be_predicted_is_told(
    client: TestClient, tmp_path: Path, data: object, status: int, detail: str
) -> None:
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    answer = client.post("/predict", json={"tasks": [{"data": data}]})
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
