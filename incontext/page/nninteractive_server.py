"""The HTTP protocol of nnInteractive, by which 3D Slicer, napari and others ask for a structure in a volume.

    incontext serve --support FOLDER

The client of reference is `nninteractive-client`, whose constants name the routes.
"""

import secrets
import threading
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from nnInteractive.inference.remote import _protocol as protocol
from pydantic import ValidationError

from incontext.page.error_answers import answer_errors
from incontext.page.leases import Leases, LeaseTerms
from incontext.page.nninteractive_client import Client
from incontext.page.nninteractive_wire import (
    BeginningMessage,
    BoxMessage,
    BufferMessage,
    Interaction,
    PointMessage,
    VolumeMessage,
    unpacked,
)
from incontext.page.volume_editor import Kind
from incontext.segmenter import Segmenter

MOST_BYTES = 2**30
"""Largest body of a request, packed."""
CAPABILITIES: Mapping[str, Any] = {
    "supported_interactions": {"points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True},
    "channel_mapping": {},
    "num_interaction_channels": 0,
    "supports_initial_label": True,
    "supports_zero_shot_label_refinement": False,
    "supports_undo": True,
    "preferred_scribble_thickness": [2, 2, 2],
    "interaction_decay": None,
    "do_autozoom": False,
    "inference_session_version": version("nninteractive-client"),
}
"""Abilities of the server, in the words of the protocol."""
Answer = TypeVar("Answer")
Token = Annotated[str, Header(alias=protocol.LEASE_HEADER)]
Meta = Annotated[str, Header(alias=protocol.META_HEADER)]
Packed = Annotated[bytes, Body(media_type=protocol.CONTENT_TYPE_OCTET_STREAM)]


class Clients:
    """The clients of a server, of which one at a time has the segmenter.

    Args:
        segmenter: Segmenter, with examples or without.
        value: Label value of the structure.
        terms: Terms of the clients' leases.
    """

    def __init__(self, segmenter: Segmenter, value: int, terms: LeaseTerms) -> None:
        self.leases = Leases(lambda: Client(segmenter, value), terms)
        self._turn = threading.Lock()

    def do(self, token: str, task: Callable[[Client], Answer]) -> Answer:
        """Do something for the client that holds a lease."""
        client = self.leases.use(token)
        with self._turn, warnings.catch_warnings(action="ignore"):
            return task(client)


def value_of(segmenter: Segmenter, structure: str | None) -> int:
    """Label value of the structure of a name; the first one, if there is no name.

    Raises:
        ValueError: If no example shows it.
    """
    names = segmenter.fitted.names if segmenter.has_examples else {}
    named = {name: value for value, name in names.items()}
    if structure is None:
        return next(iter(names), 1)
    if structure not in named:
        msg = f"structure is unknown: expected one of {', '.join(named) or 'none'}, got {structure}. Name one of these."
        raise ValueError(msg)
    return named[structure]


def build_server(segmenter: Segmenter, key: str, value: int = 1, terms: LeaseTerms | None = None) -> FastAPI:
    """Make the server.

    Args:
        segmenter: Segmenter, with examples or without; its classes do not overlap from now on.
        key: Secret that each request must bear.
        value: Label value of the structure to segment.
        terms: Terms of the clients' leases.
    """
    segmenter.set_params(overlap=False)
    clients = Clients(segmenter, value, terms or LeaseTerms())
    app = FastAPI(title="incontext for nnInteractive's clients", docs_url=None, redoc_url=None)
    answer_errors(app, {ValueError: 400, OSError: 400, ImportError: 400})

    @app.exception_handler(ValidationError)
    @app.exception_handler(RequestValidationError)
    def not_understood(_: Request, error: Any) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(each) for each in first["loc"]) or "message"
        return JSONResponse({"detail": f"{place} is not understood: {first['msg']}."}, 422)

    @app.get(protocol.PATH_HEALTHZ)
    def healthz() -> dict[str, bool]:
        """Whether it runs."""
        return {"ok": True}

    def check_key(authorization: Annotated[str, Header()] = "") -> None:
        if not secrets.compare_digest(authorization.encode(), f"Bearer {key}".encode()):
            raise HTTPException(401, "key is wrong: expected the one that the server printed, got another. Copy it.")

    routes = APIRouter(dependencies=[Depends(check_key)])
    _add_leases(routes, clients.leases)
    _add_image(routes, clients)
    _add_interactions(routes, clients)
    app.include_router(routes)
    return app


def _add_leases(routes: APIRouter, leases: Leases[Client]) -> None:
    @routes.post(protocol.PATH_CLAIM)
    def claim() -> dict[str, str | float]:
        """Give a client a lease."""
        terms = leases.terms
        told = {"idle_timeout_seconds": terms.idle_s, "liveness_timeout_seconds": terms.silent_s}
        return {"lease_token": leases.claim(), "max_sessions": terms.most, **told}

    @routes.post(protocol.PATH_RELEASE)
    def release(token: Token = "") -> dict[str, bool]:
        """End a lease."""
        leases.release(token)
        return {"released": True}

    @routes.post(protocol.PATH_HEARTBEAT)
    def heartbeat(token: Token = "") -> dict[str, float]:
        """Take note that a client lives."""
        return {"remaining_seconds": leases.see(token)}

    @routes.get(protocol.PATH_LEASE_STATUS)
    def lease_status(token: Token = "") -> dict[str, float]:
        """Tell for how many seconds a client may still do nothing."""
        return {"remaining_seconds": leases.left_s(token), "idle_timeout_seconds": leases.terms.idle_s}

    @routes.get(protocol.PATH_CAPABILITIES)
    def capabilities() -> dict[str, Any]:
        """Tell what is answered."""
        return dict(CAPABILITIES)


def _add_image(routes: APIRouter, clients: Clients) -> None:
    @routes.post(protocol.PATH_SET_IMAGE)
    def set_image(body: Packed, meta: Meta = "{}", token: Token = "") -> dict[str, list[int]]:
        """Begin with an image."""
        message, image = VolumeMessage.model_validate_json(meta), unpacked(body, 4)
        return {"original_image_shape": clients.do(token, lambda client: client.open(image, message))}

    @routes.post(protocol.PATH_SET_TARGET_BUFFER)
    def set_target_buffer(message: BufferMessage, token: Token = "") -> dict[str, str]:
        """Take note of a new mask of the client."""
        clients.do(token, lambda client: client.take_buffer(message.shape))
        return {}

    @routes.post(protocol.PATH_RESET_INTERACTIONS)
    def reset_interactions(token: Token = "") -> dict[str, str]:
        """Forget all but the image."""
        clients.do(token, Client.reset)
        return {}

    @routes.post(protocol.PATH_SET_DO_AUTOZOOM)
    def set_do_autozoom(token: Token = "") -> dict[str, str]:
        """Take note of a wish that changes nothing: the whole volume is always looked at."""
        clients.leases.use(token)
        return {}


def _add_interactions(routes: APIRouter, clients: Clients) -> None:
    @routes.post(protocol.PATH_ADD_POINT)
    def add_point(message: PointMessage, token: Token = "") -> Response:
        """Take a click."""
        return clients.do(token, lambda client: client.point(message))

    @routes.post(protocol.PATH_ADD_BBOX)
    def add_box(message: BoxMessage, token: Token = "") -> Response:
        """Take a box on a plane."""
        return clients.do(token, lambda client: client.box(message))

    @routes.post(protocol.PATH_ADD_SCRIBBLE)
    def add_scribble(body: Packed, meta: Meta, token: Token = "") -> Response:
        """Take a scribble."""
        message, mask = Interaction.model_validate_json(meta), unpacked(body, 3)
        return clients.do(token, lambda client: client.drawn("pixels", mask, message))

    @routes.post(protocol.PATH_ADD_LASSO)
    def add_lasso(body: Packed, meta: Meta, token: Token = "") -> Response:
        """Take a lasso: the structure is within the box around it, or all of it is outside."""
        message, mask = Interaction.model_validate_json(meta), unpacked(body, 3)
        kind: Kind = "box" if message.include_interaction else "pixels"
        return clients.do(token, lambda client: client.drawn(kind, mask, message))

    @routes.post(protocol.PATH_ADD_INITIAL_SEG)
    def add_initial_seg(body: Packed, meta: Meta = "{}", token: Token = "") -> Response:
        """Go on from a mask."""
        message, mask = BeginningMessage.model_validate_json(meta), unpacked(body, 3)
        return clients.do(token, lambda client: client.begin_with(mask, message.run_prediction))

    @routes.post(protocol.PATH_PREDICT)
    def predict(token: Token = "") -> Response:
        """Find the structure by all that was said."""
        return clients.do(token, Client.find)

    @routes.post(protocol.PATH_UNDO)
    def undo(token: Token = "") -> Response:
        """Take the last interaction back."""
        return clients.do(token, Client.undo)
