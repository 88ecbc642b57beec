"""The server: strokes and labels by requests, every attack refused, and its OpenAPI document kept to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient

from incontext.page.api import build_app
from incontext.page.doorway import Doorway
from incontext.page.guard import MOST_BYTES, Guard
from incontext.page.live import Live
from incontext.page.prediction import Prediction
from incontext.page.state import Page
from incontext.page.store import opened
from incontext.page.target import STORE
from tests.dicom_files import series_affine, write_series
from tests.incontext.inference.test_editor import segmenter as prompted
from tests.incontext.page.test_store import SIDE, SQUARE, plain_folder, segmenter
from tests.killed_runs import drawn, write_stack
from tests.slide_files import write_pyramid

PORT, TOKEN, TAB = 4321, "secret-token", "0123456789abcdef"
HOST = f"127.0.0.1:{PORT}"
RUNS = {str(value): flat for value, flat in SQUARE.items()}
EVIL = "<img src=x onerror=alert(1)>.png"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    folder = plain_folder(tmp_path / "in")
    Image.fromarray(drawn(3)[0][0]).save(folder / EVIL)
    write_stack(folder / "z.tif", drawn(4, 3)[0])
    with opened(folder) as annotated:
        found = Page(annotated, Live(annotated, segmenter))
        found.news.tab = TAB
        yield found


@pytest.fixture
def client(page: Page) -> Iterator[TestClient]:
    doorway = Doorway()
    doorway.open(build_app(page))
    guard = Guard(doorway, PORT, TOKEN)
    with TestClient(guard, f"http://{HOST}/{TOKEN}/", headers={"x-tab": TAB}) as found:
        yield found


def id_of(client: TestClient, name: str) -> int:
    return next(each["id"] for each in client.get("api/session").json()["images"] if each["name"] == name)


# ------------------------------------------------------------------------------------------------------ what it does


def test_a_stroke_is_kept_shown_undone_and_accepted(client: TestClient, page: Page) -> None:
    index = id_of(client, "a.png")
    assert client.get(f"api/images/{index}").json()["undoable"] == 0
    answer = client.post(f"api/images/{index}/strokes", json={"plane": 0, "tool": "brush", "runs": RUNS})
    assert answer.json() == {
        "undoable": 1,
        "redoable": 0,
        "state": "drawn",
        "prompts": [],
        "drawn_planes": [0],
        "plane": 0,
        "runs": {},
    }
    assert len([*(page.folder.folder / STORE / "strokes").iterdir()]) == 1
    shown = np.frombuffer(client.get(f"api/images/{index}/planes/0/label").content, np.uint8)
    assert shown.sum() == 81
    undone = client.post(f"api/images/{index}/undo").json()
    assert undone["runs"] == {"0": SQUARE[1]}
    assert client.post(f"api/images/{index}/redo").json()["runs"] == RUNS
    assert client.post(f"api/images/{index}/accept").json() == {"label": "labels/a.png"}
    assert np.asarray(Image.open(page.folder.folder / "labels" / "a.png")).sum() == 81
    assert client.get("api/session").json()["images"][index]["state"] == "accepted"


def test_strokes_join_the_mask_that_is_shown_whatever_else_is_read_meanwhile(tmp_path: Path) -> None:
    with opened(plain_folder(tmp_path / "in", "abcdef")) as annotated:
        page = Page(annotated, Live(annotated, segmenter))
        page.news.tab = TAB
        with TestClient(build_app(page), headers={"x-tab": TAB}) as client:
            for index in range(5):
                client.post(f"/api/images/{index}/strokes", json={"plane": 0, "tool": "brush", "runs": RUNS})
            mask = np.zeros((1, SIDE, SIDE), np.uint8)
            mask[0, :4] = 1
            page.live.predictions[5] = Prediction.packing(mask, 0.5, look_first=False, round=1)
            client.get("/api/images/5")
            assert client.get("/api/export/masks").status_code == 200
            client.post("/api/images/5/strokes", json={"plane": 0, "tool": "brush", "runs": RUNS})
            shown = np.frombuffer(client.get("/api/images/5/planes/0/label").content, np.uint8)
            assert shown.sum() == 4 * SIDE + 81


def test_names_from_elsewhere_are_told_as_label_files_can_hold_them(tmp_path: Path) -> None:
    names = {1: 'the "left"\n one', 2: "x" * 300, 3: "\x01"}
    with opened(plain_folder(tmp_path / "in"), names) as annotated:
        page = Page(annotated, Live(annotated, segmenter))
        page.news.tab = TAB
        with TestClient(build_app(page), headers={"x-tab": TAB}) as client:
            classes = client.get("/api/session").json()["classes"]
            assert [each["name"] for each in classes] == ["the 'left' one", "x" * 200, "class 3"]
            assert client.put("/api/classes", json={"classes": classes}).status_code == 200


def test_an_export_tells_how_many_images_it_lacks(client: TestClient, page: Page) -> None:
    for index in (0, 1):
        client.post(f"api/images/{index}/strokes", json={"plane": 0, "tool": "brush", "runs": RUNS})
    name = page.folder.images[0].name
    (page.folder.folder / name).unlink()
    assert client.get("api/exports").json()["gone"] == [name]
    answer = client.get("api/export/masks")
    assert (answer.status_code, answer.headers["x-left-out"]) == (200, "1")


def test_planes_are_sent_as_they_are(client: TestClient) -> None:
    index = id_of(client, "z.tif")
    told = client.get(f"api/images/{index}").json()
    assert (told["planes"], told["height"], told["width"], told["bits"]) == (3, SIDE, SIDE, 8)
    for number, plane in enumerate(drawn(4, 3)[0]):
        assert client.get(f"api/images/{index}/planes/{number}").content == plane.tobytes()
    assert client.get(f"api/images/{index}/thumbnail").content[:4] == b"\x89PNG"


def test_a_slide_is_sent_by_tiles_and_others_are_not(client: TestClient, page: Page) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    (folder := page.folder.folder.parent / "slides").mkdir()
    write_pyramid(folder / "s.tif", colours)
    with opened(folder, level=1) as annotated:
        slides = Page(annotated, Live(annotated, segmenter))
        with TestClient(build_app(slides)) as asked:
            told = asked.get("/api/images/0").json()
            assert told["tiles"] == {"side": 256, "finest": -1, "coarsest": 0}
            assert (told["height"], told["width"], told["full_size"], told["level"]) == (48, 64, [96, 128], 1)
            tile = np.frombuffer(asked.get("/api/images/0/tiles/-1/0/0").content, np.uint8).reshape(256, 256, 3)
            assert np.array_equal(tile[:96, :128], colours)
            assert asked.get("/api/images/0/tiles/-1/1/0").status_code == 404
            assert asked.get("/api/images/0/thumbnail").content[:4] == b"\x89PNG"
    index = id_of(client, "z.tif")
    assert client.get(f"api/images/{index}").json()["tiles"] is None
    assert client.get(f"api/images/{index}/tiles/0/0/0").status_code == 404


def test_planes_that_somebody_drew_are_told_apart_from_those_that_were_found(client: TestClient, page: Page) -> None:
    index = id_of(client, "z.tif")
    stroke = {"plane": 1, "tool": "brush", "runs": RUNS}
    assert client.post(f"api/images/{index}/strokes", json=stroke).json()["drawn_planes"] == [1]
    page.folder.open(index).drawing.replace(np.ones((3, SIDE, SIDE), np.uint8), "propagate")
    told = client.get(f"api/images/{index}").json()
    assert (told["drawn_planes"], told["shown_planes"]) == ([1], [0, 1, 2])
    client.post(f"api/images/{index}/undo")
    assert client.post(f"api/images/{index}/undo").json()["drawn_planes"] == []


def test_a_series_with_gaps_is_one_volume_with_a_note(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    affine = series_affine(np.eye(3), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    for path in write_series(tmp_path / "in" / "scan", drawn(0, 7)[0].astype(int), affine)[3:5]:
        path.unlink()
    with (
        opened(tmp_path / "in") as annotated,
        TestClient(build_app(Page(annotated, Live(annotated, segmenter)))) as asked,
    ):
        assert [each["name"] for each in asked.get("/api/session").json()["images"]] == ["scan"]
        told = asked.get("/api/images/0").json()
    assert told["planes"] == 5
    assert told["notes"] == ["slices lie unevenly, 3 to 9 mm apart: each counts for 4.5 mm"]


def test_planes_across_a_volume_are_cut_out_of_it(client: TestClient, page: Page) -> None:
    index, planes = id_of(client, "z.tif"), drawn(4, 3)[0]
    page.folder.open(index).drawing.stroke(1, SQUARE, "brush")
    label = page.folder.open(index).drawing.planes
    for axis, place in ((1, 9), (2, 20)):
        content = client.get(f"api/images/{index}/across/{axis}/{place}").content
        assert content == planes.take(place, axis).tobytes() + label.take(place, axis).tobytes()
        assert client.get(f"api/images/{index}/across/{axis}/{SIDE}").status_code == 404
    assert client.get(f"api/images/{index}/across/0/0").status_code == 422


def test_a_click_is_answered_kept_and_undone(client: TestClient, page: Page) -> None:
    click = {"plane": 0, "value": 1, "kind": "click", "points": [[5, 7]]}
    assert "not loaded yet" in client.post("api/images/0/prompts", json=click).json()["detail"]
    page.live._segmenter = prompted()
    assert client.post("api/images/0/preparation", json={"plane": 0, "value": 1}).status_code == 204
    assert client.post("api/images/0/preparation", json={"plane": 7, "value": 1}).status_code == 404
    assert not page.folder.open(0).drawing.undoable
    prepared = page._prompter._kept
    answer = client.post("api/images/0/prompts", json=click).json()
    assert page._prompter._kept is prepared
    assert answer["undoable"] == 1
    assert answer["runs"]["1"]
    assert page.folder.open(0).drawing.planes[0, 5, 7] == 1
    assert client.post("api/images/0/undo").json()["runs"].keys() == {"0"}
    assert not page.folder.open(0).drawing.planes.any()
    far = client.post("api/images/0/prompts", json={**click, "points": [[5, 700]]})
    assert far.status_code == 409


def test_a_prompt_is_taken_out_of_several(client: TestClient, page: Page) -> None:
    page.live._segmenter = prompted()
    click = {"plane": 0, "value": 1, "kind": "click"}
    for points in ([[5, 7]], [[20, 22]]):
        told = client.post("api/images/0/prompts", json={**click, "points": points}).json()["prompts"]
    assert [(each["number"], each["points"], each["inside"]) for each in told] == [
        (0, [[5, 7]], True),
        (1, [[20, 22]], True),
    ]
    client.post("api/images/0/strokes", json={"plane": 0, "tool": "brush", "runs": {"1": [0, 3]}})
    answer = client.delete("api/images/0/prompts/0").json()
    assert [each["number"] for each in answer["prompts"]] == [1]
    left = page.folder.open(0).drawing.planes[0].copy()
    assert left[0, :3].all()
    assert client.get("api/images/0").json()["prompts"] == answer["prompts"]
    assert client.delete("api/images/0/prompts/0").status_code == 409
    client.post("api/images/0/undo")
    assert [each["number"] for each in client.get("api/images/0").json()["prompts"]] == [0, 1]
    assert left[20, 22]


def test_tuning_is_begun_and_ended_by_requests(client: TestClient, page: Page) -> None:
    assert "not loaded yet" in client.post("api/tuning").json()["detail"]
    page.live._segmenter = segmenter()
    assert "there is no example" in client.post("api/tuning").json()["detail"]
    assert client.delete("api/tuning").json()["is_running"] is False


def test_the_first_example_must_show_something(client: TestClient) -> None:
    answer = client.post("api/images/0/accept")
    assert answer.status_code == 409
    assert "nothing is drawn" in answer.json()["detail"]


def test_the_only_example_stays_one_that_shows_something(client: TestClient, page: Page) -> None:
    client.post("api/images/0/strokes", json={"plane": 0, "tool": "brush", "runs": RUNS})
    client.post("api/images/0/accept")
    client.post("api/images/0/undo")
    answer = client.post("api/images/0/accept")
    assert answer.status_code == 409
    assert "nothing is drawn" in answer.json()["detail"]
    (label,) = page.folder.images[0].pair.files[1:]
    assert np.asarray(Image.open(label)).sum() == 81


def test_nothing_to_undo_leaves_a_prediction_one(client: TestClient, page: Page) -> None:
    planes = np.ones((1, SIDE, SIDE), np.uint8)
    page.live.predictions[0] = Prediction.packing(planes, dice=0.5, look_first=False, round=1)
    assert client.get("api/images/0").json()["undoable"] == 0
    assert client.post("api/images/0/undo").json()["state"] == "predicted"
    drawn = client.post("api/images/0/strokes", json={"plane": 0, "tool": "brush", "runs": RUNS})
    assert drawn.json()["state"] == "drawn"


def test_what_is_all_taken_back_is_as_it_was_before(client: TestClient, page: Page) -> None:
    stroke = {"plane": 0, "tool": "brush", "runs": RUNS}
    for content in (1, 2):  # a newer mask comes, and what was taken back can be done again upon it
        mask = np.full((1, SIDE, SIDE), content, np.uint8)
        page.live.predictions[1] = Prediction.packing(mask, dice=0.5, look_first=False, round=content)
        assert client.get("api/images/1").json()["redoable"] == content - 1
        assert client.get("api/images/1/planes/0/label").content == mask.tobytes()
        client.post("api/images/1/redo" if content == 2 else "api/images/1/strokes", json=stroke)
        assert page.folder.images[1].state == "drawn"
        assert client.post("api/images/1/undo").json()["state"] == "predicted"
        assert page.folder.open(1).drawing.planes.tobytes() == mask.tobytes()
    client.post("api/images/0/strokes", json=stroke)
    assert client.post("api/images/0/undo").json()["state"] == "bare"
    assert page.live._has_more


def test_classes_are_named_anew(client: TestClient, page: Page) -> None:
    classes = [{"value": 1, "name": "disc", "colour": "#112233"}, {"value": 4, "name": "rim", "colour": "#445566"}]
    assert client.put("api/classes", json={"classes": classes}).json()["classes"] == classes
    assert json.loads((page.folder.folder / STORE / "classes.json").read_text())["classes"] == classes
    assert client.put("api/classes", json={"classes": [classes[0]] * 2}).status_code == 409


def test_a_class_is_removed_and_comes_back_with_its_pixels(client: TestClient, page: Page) -> None:
    classes = client.get("api/session").json()["classes"] + [{"value": 2, "name": "rim", "colour": "#445566"}]
    client.put("api/classes", json={"classes": classes})
    client.post("api/images/0/strokes", json={"plane": 0, "tool": "brush", "runs": {"2": [0, 9]}})
    assert client.get("api/classes/2/uses").json() == {"drawn": 1, "accepted": 0, "shows_others": False}
    assert client.delete("api/classes/2").status_code == 409
    told = client.delete("api/classes/2", params={"into": 1}).json()
    assert (told["classes"], told["retired"]) == (classes[:1], [2])
    assert {*client.get("api/images/0/planes/0/label").content} == {0, 1}
    assert client.post("api/images/0/undo").json()["plane"] is None
    told = client.get("api/session").json()
    assert (told["classes"], told["retired"]) == (classes, [])


# ----------------------------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": f"evil.example:{PORT}"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": ""}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}, 200),
        ({"host": f"localhost:{PORT}"}, 200),
    ],
)
def test_other_pages_and_other_hosts_are_refused(client: TestClient, headers: dict[str, str], status: int) -> None:
    assert client.get("api/session", headers=headers).status_code == status
    index = {"plane": 0, "tool": "brush", "runs": RUNS}
    assert client.post("api/images/0/strokes", json=index, headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/", "/api/session", "/wrong/api/session", f"/{TOKEN}x/api/session", f"//{TOKEN}/"])
def test_without_the_token_nothing_is_there(client: TestClient, path: str) -> None:
    answer = client.get(f"http://{HOST}{path}")
    assert answer.status_code == 404
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "static/../api.py",
        "static/%2e%2e/api.py",
        "static/..%2fapi.py",
        "static/%2e%2e%2f%2e%2e%2f%2e%2e%2fpyproject.toml",
        "static//etc/passwd",
        "static/%2fetc%2fpasswd",
        "api/images/..%2f..%2fetc%2fpasswd",
        "api/images/-1",
        "api/images/99",
        "api/images/0/planes/7",
        "api/images/0/planes/7/label",
    ],
)
def test_no_path_leads_out(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 409, 422)
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_large_bodies_are_refused(client: TestClient) -> None:
    large = b"[" + b"0," * (MOST_BYTES // 2) + b"0]"
    told = client.post("api/images/0/strokes", content=large)
    untold = client.post("api/images/0/strokes", content=iter([large[: len(large) // 2], large[len(large) // 2 :]]))
    assert (told.status_code, untold.status_code) == (413, 413)


def test_another_tab_cannot_draw(client: TestClient, page: Page) -> None:
    for method, path, content in [
        ("POST", "api/images/0/strokes", {"plane": 0, "tool": "brush", "runs": RUNS}),
        ("POST", "api/images/0/prompts", {"plane": 0, "value": 1, "kind": "click", "points": [[5, 5]]}),
        ("DELETE", "api/images/0/prompts/0", None),
        ("POST", "api/tuning", None),
        ("DELETE", "api/tuning", None),
        ("POST", "api/images/0/undo", None),
        ("POST", "api/images/0/redo", None),
        ("POST", "api/images/0/accept", None),
        ("DELETE", "api/classes/1", None),
        ("PUT", "api/classes", {"classes": [{"value": 1, "name": "disc", "colour": "#112233"}]}),
    ]:
        answer = client.request(method, path, json=content, headers={"x-tab": "f" * 16})
        assert answer.status_code == 409
        assert "another tab" in answer.json()["detail"]
    assert not (page.folder.folder / STORE).exists()


def test_names_are_sent_as_data_and_nothing_is_run(client: TestClient) -> None:
    answer = client.get("api/session")
    assert EVIL in [each["name"] for each in answer.json()["images"]]
    assert answer.headers["content-type"] == "application/json"
    for path in ("", "api/session", "api/images/0/thumbnail"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_pixels_outside_of_an_image_are_refused(client: TestClient, page: Page) -> None:
    for runs in ({"1": [SIDE * SIDE - 1, 2]}, {"1": [5]}, {"1": [0, 0]}):
        answer = client.post("api/images/0/strokes", json={"plane": 0, "tool": "brush", "runs": runs})
        assert answer.status_code == 409
    assert not (page.folder.folder / STORE).exists()


def test_values_of_no_class_are_refused(client: TestClient, page: Page) -> None:
    page.live._segmenter = prompted()
    click = {"plane": 0, "value": 7, "kind": "click", "points": [[5, 7]]}
    for path, content in (("strokes", {"plane": 0, "tool": "brush", "runs": {"7": [0, 9]}}), ("prompts", click)):
        answer = client.post(f"api/images/0/{path}", json=content)
        assert answer.status_code == 409
        assert "value is of no class: expected one of 1, or 0 to erase, got 7" in answer.json()["detail"]
    assert not (page.folder.folder / STORE).exists()


@pytest.mark.parametrize(("kind", "count"), [("box", 1), ("box", 3), ("click", 2)])
def test_prompts_have_as_many_points_as_their_kind(client: TestClient, kind: str, count: int) -> None:
    answer = client.post(
        "api/images/0/prompts", json={"plane": 0, "value": 1, "kind": kind, "points": [[5, 7]] * count}
    )
    assert answer.status_code == 422
    assert f"points of a {kind} are wrong" in answer.text


def test_a_damaged_image_says_so(client: TestClient, page: Page) -> None:
    (page.folder.folder / "b.png").write_bytes(b"no picture")
    answer = client.get(f"api/images/{id_of(client, 'b.png')}")
    assert answer.status_code == 507
    assert "b.png is unreadable" in answer.json()["detail"]


# ------------------------------------------------------------------------------------------- its OpenAPI document


@pytest.mark.parametrize("fits", [True, False])
def test_requests_are_answered_as_the_document_says(client: TestClient, page: Page, fits: bool) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    document = schemathesis.openapi.from_dict(client.get("openapi.json").json())
    del client.headers["x-tab"]
    statuses = set()
    # how many points a prompt has depends on its kind, which the document does not say
    unsaid = [schemathesis.specs.openapi.checks.positive_data_acceptance]
    mode = schemathesis.GenerationMode.POSITIVE if fits else schemathesis.GenerationMode.NEGATIVE
    requests = document.exclude(path_regex="/events$").as_strategy(generation_mode=mode)  # the events never end

    @settings(max_examples=60, deadline=None)
    @given(requests)
    def check(case: Any) -> None:
        if fits:  # else few would come from the tab that draws, about an image that is there
            if "x-tab" in case.headers:
                case.headers["x-tab"] = TAB
            if "index" in case.path_parameters:
                case.path_parameters["index"] %= len(page.folder.images) + 1
        asked = case.as_transport_kwargs(base_url=f"http://{HOST}/{TOKEN}")
        del asked["cookies"]  # of which the page has none
        answer = client.request(content=asked.pop("data", None), **asked)
        statuses.add(answer.status_code)
        case.validate_response(answer, excluded_checks=unsaid)

    check()
    assert (200 in statuses) == fits
