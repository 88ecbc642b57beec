"""nnInteractive's protocol, spoken by its own client: what it sees is what the server found, for it alone."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("nnInteractive")

import httpx
import uvicorn
from nnInteractive.inference.remote import (
    ServerAtCapacityError,
    SessionExpiredError,
    nnInteractiveRemoteInferenceSession,
)
from nnInteractive.inference.remote.serialization import pack_array

from incontext.page.guard import Guard
from incontext.page.leases import LeaseTerms
from incontext.page.nninteractive_server import build_server, value_of
from incontext.page.serve import listening
from incontext.page.volume_editor import VolumeEditor
from tests.incontext.inference.test_editor import segmenter, taught
from tests.incontext.page.test_volume_editor import SHAPE, volume, voxels

KEY = "secret"
MOST_BYTES = 100_000
SPACING = {"spacing": np.array([4.0, 1.0, 1.0])}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # networks that learned nothing find all unlikely


class Clock:
    """A clock that is set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Server:
    """A server in a thread, and its clients."""

    def __init__(self, port: int, clock: Clock) -> None:
        self.address, self.clock = f"http://127.0.0.1:{port}", clock

    @contextmanager
    def client(self, image: np.ndarray | None = None) -> Iterator[nnInteractiveRemoteInferenceSession]:
        with nnInteractiveRemoteInferenceSession(self.address, KEY) as client:
            if image is not None:
                client.set_image(image, SPACING)
                client.set_target_buffer(np.zeros(image.shape[1:], np.uint8))
            yield client


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    clock = Clock()
    terms = LeaseTerms(2, 600.0, 60.0, clock)
    with listening(0) as listener:
        port = listener.getsockname()[1]
        guard = Guard(build_server(segmenter(), KEY, terms=terms), port, "", MOST_BYTES)
        running = uvicorn.Server(uvicorn.Config(guard, log_level="error", ws="none", lifespan="off"))
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        yield Server(port, clock)
        running.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def beside() -> VolumeEditor:
    """What the server shall find, without the server."""
    return VolumeEditor(segmenter(), volume(), (4.0, 1.0, 1.0), 1)


def test_a_click_is_obeyed_spread_and_taken_back(server: Server, beside: VolumeEditor) -> None:
    with server.client(volume()) as client:
        assert client.original_image_shape == (1, *SHAPE)
        box = client.add_point_interaction([2.2, 12, 14], include_interaction=True)
        beside.say("click", voxels((2, 12, 14)), True)
        first = beside.mask.copy()
        beside.find()
        assert client.target_buffer[2, 12, 14] == 1
        assert np.array_equal(client.target_buffer, beside.mask)
        outside = client.target_buffer.copy()
        outside[tuple(slice(*ends) for ends in box)] = 0
        assert not outside.any()
        found = client.target_buffer.copy()
        client.add_point_interaction([2, 12, 15], include_interaction=False, run_prediction=False)
        assert np.array_equal(client.target_buffer, found)
        client._predict()
        assert client.target_buffer[2, 12, 15] == 0
        assert client.undo()
        assert np.array_equal(client.target_buffer, found)
        assert client.undo()
        assert not client.target_buffer.any()
        assert not client.undo()
        assert first.any()


def test_scribbles_lassos_and_boxes_are_what_an_editor_is_told(server: Server, beside: VolumeEditor) -> None:
    drawn = np.zeros((1, 4, 6), np.uint8)
    drawn[0, 1, 1:5] = 1
    ends = [[3, 4], [9, 13], [12, 18]]
    with server.client(volume()) as client:
        client.add_scribble_interaction(drawn, True, interaction_bbox=ends)
        beside.say("pixels", np.argwhere(drawn) + np.array([3, 9, 12]), True)
        client.add_bbox_interaction([[1, 2], [8.2, 20], [-3, 22]], True)
        beside.find()
        beside.say("box", voxels((1, 8, 0), (1, 19, 21)), True)
        beside.find()
        lasso = np.zeros(SHAPE, bool)
        lasso[4, 7:21, 9:23] = True
        client.add_lasso_interaction(lasso.astype(np.float16), True)
        beside.say("box", np.argwhere(lasso), True)
        beside.find()
        assert np.array_equal(client.target_buffer, beside.mask)
        client.add_lasso_interaction(lasso.astype(np.float16), False)
        client.add_bbox_interaction([[2, 3], [0, 32], [0, 28]], False)
        assert not client.target_buffer[lasso].any()
        assert not client.target_buffer[2].any()


def test_a_mask_to_begin_with_and_a_new_beginning(server: Server) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:4, 8:20, 10:22] = 1
    with server.client(volume()) as client:
        client.add_initial_seg_interaction(mask)
        client.add_point_interaction([2, 9, 11], include_interaction=False)
        assert np.array_equal(client.target_buffer[3], mask[3])
        assert client.target_buffer[2, 9, 11] == 0
        found = client.target_buffer.copy()
        client.set_target_buffer(np.zeros(SHAPE, np.float32))
        client._predict()
        assert np.array_equal(client.target_buffer, found)
        client.reset_interactions()
        client.set_do_autozoom(True)
        assert not client.undo()
        client.add_initial_seg_interaction(mask, run_prediction=True)
        assert np.array_equal(client.target_buffer[2:4], mask[2:4])


def test_clients_do_not_see_each_other(server: Server) -> None:
    with server.client(volume()) as one, server.client() as other:
        one.add_point_interaction([2, 12, 14], include_interaction=True)
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            other.add_point_interaction([2, 12, 14], include_interaction=True)
        image = volume()[:, :3, ::-1]
        other.set_image(image)
        other.set_target_buffer(np.zeros(image.shape[1:], np.uint8))
        assert not other.undo()
        assert one.undo()
        with pytest.raises(ServerAtCapacityError, match="server is full: expected 2 clients at most"):
            nnInteractiveRemoteInferenceSession(server.address, KEY)


def test_a_lease_ends_when_its_client_is_idle_or_silent(server: Server) -> None:
    with server.client(volume()) as client:
        assert client.lease_status() == {"remaining_seconds": 600.0, "idle_timeout_seconds": 600.0}
        for _ in range(11):
            server.clock.now_s += 50
            client.heartbeat()
        assert client.lease_status()["remaining_seconds"] == 50.0
        server.clock.now_s += 51
        with pytest.raises(SessionExpiredError, match="lease has ended"):
            client.add_point_interaction([2, 12, 14], include_interaction=True)
    with server.client(volume()) as client:
        server.clock.now_s += 61
        with pytest.raises(SessionExpiredError, match="lease has ended"):
            client.heartbeat()


def test_only_what_is_answered_is_declared(server: Server) -> None:
    with server.client() as client:
        assert client.ping()
        assert [name for name, is_there in client.supported_interactions.items() if not is_there] == ["bbox3d"]
        assert client.supports_initial_label
        assert client.supports_undo
        assert not client.supports_zero_shot_label_refinement


def test_who_lacks_the_key_or_is_another_page_is_refused(server: Server) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        nnInteractiveRemoteInferenceSession(server.address, "wrong")
    for headers, status in [
        ({}, 401),
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ]:
        assert httpx.post(f"{server.address}/claim", headers=headers).status_code == status


def cut(packed: bytes) -> bytes:
    return packed[:-5]


PACKED = pack_array(volume(), nthreads=1)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"NNIA", "array is damaged"),
        (cut(PACKED), "array is damaged"),
        (PACKED[:15] + b"\xff" * 32 + PACKED[47:], "array is not usable: expected 4 axes"),
        (PACKED[:15] + (2**20).to_bytes(8, "little") * 4 + PACKED[47:], "array is not usable: expected 4 axes"),
        (PACKED.replace(b"float32", b"objects"), "array is not usable"),
        (pack_array(volume()[0], nthreads=1), "array is not usable: expected 4 axes"),
        (pack_array(np.full((1, *SHAPE), np.nan, np.float32), nthreads=1), "finite"),
        (pack_array(volume(2), nthreads=1), "image is not one image"),
    ],
)
def test_a_body_that_is_no_image_is_refused_in_a_line_and_the_server_lives_on(
    server: Server, body: bytes, detail: str
) -> None:
    with server.client(volume()) as client:
        answer = client._http.post("/set_image", content=body, headers={"content-type": "application/octet-stream"})
        assert answer.status_code == 400
        assert detail in answer.json()["detail"]
        assert "\n" not in answer.json()["detail"]
        client.add_point_interaction([2, 12, 14], include_interaction=True, run_prediction=False)


def test_a_body_that_is_too_large_is_refused(server: Server) -> None:
    with server.client() as client:
        for content in (bytes(MOST_BYTES + 1), iter([bytes(MOST_BYTES), b"1"])):
            answer = client._http.post("/set_image", content=content)
            assert answer.status_code == 413
        assert client.ping()


Call = Callable[[nnInteractiveRemoteInferenceSession], object]


@pytest.mark.parametrize(
    ("call", "detail"),
    [
        (lambda client: client.add_point_interaction([2, 12], True), "body.coordinates.2 is not understood"),
        (lambda client: client.add_point_interaction([2, 12, 99], True), "prompt is not on the image"),
        (lambda client: client.add_point_interaction([2, 12, 1e300], True), "body.coordinates.2 is not understood"),
        (lambda client: client.add_bbox_interaction([[0, 3], [0, 9], [0, 9]], True), "box has no plane"),
        (lambda client: client.add_bbox_interaction([[2, 3], [9, 9], [0, 9]], True), "prompt is not on the image"),
        (lambda client: client.add_bbox_interaction([[9, 10], [0, 9], [0, 9]], True), "prompt is not on the image"),
        (lambda client: client.add_scribble_interaction(np.ones((2, 2, 2)), True), "drawing does not fit its box"),
        (lambda client: client.add_scribble_interaction(np.zeros(SHAPE), True), "prompt is not on the image"),
        (lambda client: client.set_image(volume(), {"spacing": [1, 0, 1]}), "image_properties.spacing.1 is not"),
        (lambda client: client.set_target_buffer(np.zeros((2, 2, 2))), "buffer does not fit the image"),
        (lambda client: client._http.post("/add_scribble_interaction").raise_for_status(), "is not understood"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line_and_changes_nothing(server: Server, call: Call, detail: str) -> None:
    with server.client(volume()) as client:
        with pytest.raises(httpx.HTTPStatusError) as refused:
            call(client)
        told = json.loads(refused.value.response.content)["detail"]
        assert detail in told
        assert "\n" not in told
        assert not client.undo()


def test_the_structure_is_one_that_the_examples_show() -> None:
    made, _ = taught()
    assert [value_of(made, name) for name in (None, "1", "2")] == [1, 1, 2]
    assert value_of(segmenter(), None) == 1
    with pytest.raises(ValueError, match="structure is unknown: expected one of 1, 2, got liver"):
        value_of(made, "liver")
