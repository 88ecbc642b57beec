"""The server of the page: what it can be asked, as an OpenAPI document too."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

from incontext.images.source_image import read_source_image
from incontext.page.display import ScreenImage
from incontext.page.drawing import Redrawn
from incontext.page.export import archive, task_of
from incontext.page.live import Live
from incontext.page.messages import (
    TABS,
    AcceptedMessage,
    ClassesMessage,
    ClassMessage,
    DrawnMessage,
    ExpectedMessage,
    ImageEntry,
    ImageMessage,
    NewsMessage,
    ProgressMessage,
    PromptMessage,
    Refusal,
    SessionMessage,
    StrokeMessage,
)
from incontext.page.news import News
from incontext.page.prompting import PlaneEditor
from incontext.page.store import AnnotatedFolder, DrawnClass, OpenImage
from megamed.failures import told
from megamed.vocabulary import WrittenTool

Responses = dict[int | str, dict[str, Any]]
"""Answers by status, for the OpenAPI document."""
STATIC = Path(__file__).parent / "static"
BYTES: Responses = {200: {"content": {"application/octet-stream": {}}}}
PNG: Responses = {200: {"content": {"image/png": {}}}}
REFUSALS: Responses = {
    404: {"model": Refusal, "description": "No such image"},
    409: {"model": Refusal, "description": "Another tab draws, or it cannot be done now"},
    413: {"description": "Body is too large"},
    422: {"model": Refusal, "description": "Request is malformed"},
    507: {"model": Refusal, "description": "Disk or file does not take it"},
}
NOTHING = Redrawn(0, {})
Index = Annotated[int, InPath(ge=0, le=2**31)]
Plane = Annotated[int, InPath(ge=0, le=2**31)]
Tab = Annotated[str, Header(alias="x-tab", pattern=TABS)]


class Page:
    """The state behind the server: the folder, what runs in the background, and the tab.

    Args:
        folder: The folder that is annotated.
        live: Segmentation in the background.
    """

    def __init__(self, folder: AnnotatedFolder, live: Live) -> None:
        self.folder, self.live = folder, live
        self.news = News(self.tell)
        self._shown: dict[int, ScreenImage] = {}
        self._thumbnails: dict[int, bytes] = {}
        self._editor: tuple[object, PlaneEditor] | None = None

    def tell(self, indices: Collection[int]) -> NewsMessage:
        """Tell the state of some images, of classes, and of what runs in the background."""
        with self.live.lock:
            return NewsMessage(
                images=[self._entry(index) for index in sorted(indices)],
                classes=[ClassMessage.model_validate(each) for each in self.folder.classes.values()],
                expected=self._expected(),
                progress=ProgressMessage.told(self.live.progress),
                takes_prompts=self.live.takes_prompts,
            )

    def session(self) -> SessionMessage:
        """Tell the state of the folder and of all its images."""
        with self.live.lock:
            news = self.tell(range(len(self.folder.images)))
            return SessionMessage(**dict(news), folder=self.folder.folder.resolve().name, notes=[*self.folder.notes])

    def check(self, index: int) -> None:
        """Make sure that there is an image of this number.

        Raises:
            HTTPException: If there is none.
        """
        if index >= len(self.folder.images):
            raise HTTPException(404, f"image is unknown: expected 0 to {len(self.folder.images) - 1}, got {index}.")

    def open(self, index: int) -> OpenImage:
        """Open an image of the folder."""
        self.check(index)
        return self.folder.open(index)

    def opened(self, index: int) -> ImageMessage:
        """Open an image to be looked at; what was predicted is there to be corrected."""
        found, live = self.open(index), self.live
        live.look_at(index)
        prediction = live.predictions.get(index)
        if prediction and self.folder.images[index].state == "bare":
            found.drawing.begin(prediction.planes)
        shown, (planes, height, width) = self.shown(index), found.drawing.planes.shape
        return ImageMessage(
            id=index,
            name=self.folder.images[index].name,
            planes=planes,
            height=height,
            width=width,
            has_colours=shown.has_colours,
            bits=shown.bits,
            low=shown.low,
            high=shown.high,
            window=shown.window,
            spacing_mm=found.case.spacing_mm,
            undoable=found.drawing.undoable,
            redoable=found.drawing.redoable,
            drawn_planes=np.flatnonzero(found.drawing.planes.any(axis=(1, 2))).tolist(),
            round=prediction.round if prediction else 0,
        )

    def prompt(self, index: int, said: PromptMessage) -> Redrawn:
        """Let the network answer a click, a scribble or a box; the answer is kept like a stroke.

        Raises:
            ValueError: If the network is not loaded yet, takes no prompts, or a point is not on the image.
        """
        with self.live.borrowed() as segmenter, self.live.lock:
            opened = self.open(index)
            if said.plane >= len(opened.drawing.planes):
                raise HTTPException(404, f"plane is unknown: expected one of {len(opened.drawing.planes)}.")
            key = index, said.plane, said.value, segmenter.fitted if segmenter.has_examples else None
            if self._editor is None or self._editor[0] != key:
                self._editor = key, PlaneEditor(segmenter, opened.case, said.plane, said.value)
            drawn = opened.drawing.planes[said.plane]
            runs = self._editor[1].answer(said.kind, said.points, said.inside, drawn).told()
            if runs:
                opened.drawing.stroke(said.plane, runs, said.kind)
            return Redrawn(said.plane, runs)

    def accept(self, index: int) -> Path:
        """Make an image an example.

        Raises:
            ValueError: If it would be the only one, and shows nothing.
        """
        others = any(image.is_example for image in self.folder.images)
        if not others and not self.open(index).drawing.planes.any():
            msg = "nothing is drawn: expected a structure in the first image, got none. Draw one."
            raise ValueError(msg)
        path = self.folder.accept(index)
        self.live.examples_changed()
        self.news.post([index])
        return path

    def shown(self, index: int) -> ScreenImage:
        """An image for the screen; the last one is kept."""
        if index not in self._shown:
            self._shown = {index: ScreenImage.of(self.open(index).case)}
        return self._shown[index]

    def thumbnail(self, index: int) -> bytes:
        """PNG of an image, made once."""
        self.check(index)
        if index not in self._thumbnails:
            image = self.folder.images[index]
            self._thumbnails[index] = ScreenImage.of(read_source_image(image.pair.image, image.name)).thumbnail()
        return self._thumbnails[index]

    def drawn(self, index: int, redrawn: Redrawn) -> DrawnMessage:
        """Tell the state of a drawing after a stroke."""
        self.folder.noticed(index)
        drawing = self.folder.open(index).drawing
        return DrawnMessage(
            undoable=drawing.undoable,
            redoable=drawing.redoable,
            state=self.folder.images[index].state,
            plane=redrawn.plane,
            runs={value: [*flat] for value, flat in redrawn.runs.items()},
        )

    def _expected(self) -> list[ExpectedMessage]:
        found = self.live.expected
        if found is None:
            return []
        return [
            ExpectedMessage(value=value, dice=dice, low=found.interval[value][0], high=found.interval[value][1])
            for value, dice in found.dice.items()
        ]

    def _entry(self, index: int) -> ImageEntry:
        live = self.live
        suspects = set(live.expected.suspects) if live.expected else set()
        found, failure = live.predictions.get(index), live.failures.get(index, "")
        return ImageEntry.told(index, self.folder.images[index], found, failure, suspects)


def build_app(page: Page) -> FastAPI:
    """Make the server of a page."""
    app = FastAPI(title="incontext annotate", docs_url=None, redoc_url=None, responses=REFUSALS)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.exception_handler(ValueError)
    @app.exception_handler(ImportError)
    def refuse(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": told(error)}, 409)

    @app.exception_handler(OSError)
    def fail(_: Request, error: OSError) -> JSONResponse:
        return JSONResponse({"detail": told(error)}, 507)

    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    _add_state(app, page)
    _add_pixels(app, page)
    _add_drawing(app, page)
    _add_export(app, page)
    return app


def _add_state(app: FastAPI, page: Page) -> None:
    @app.get("/api/session")
    def session() -> SessionMessage:
        """State of the folder."""
        return page.session()

    @app.get("/api/events", responses={200: {"content": {"text/event-stream": {}}}}, response_class=StreamingResponse)
    async def events(tab: Annotated[str, Query(pattern=TABS)]) -> StreamingResponse:
        """Stream of news, for one tab at a time."""
        if not await page.news.enter(tab):
            raise HTTPException(409, "This folder is open in another tab.")
        return StreamingResponse(page.news.stream(), media_type="text/event-stream")

    @app.put("/api/classes")
    def set_classes(message: ClassesMessage, tab: Tab) -> SessionMessage:
        """Keep names and colours of classes, and further classes."""
        _check_tab(page, tab)
        with page.live.lock:
            page.folder.set_classes([DrawnClass(**each.model_dump()) for each in message.classes])
        return page.session()


def _add_pixels(app: FastAPI, page: Page) -> None:
    @app.get("/api/images/{index}")
    def image(index: Index) -> ImageMessage:
        """Open an image."""
        with page.live.lock:
            return page.opened(index)

    @app.get("/api/images/{index}/planes/{plane}", responses=BYTES, response_class=Response)
    def plane(index: Index, plane: Plane) -> Response:
        """Numbers of a plane of an image, rows one after the other."""
        with page.live.lock:
            shown = page.shown(index)
        return Response(shown.plane(plane), media_type="application/octet-stream")

    @app.get("/api/images/{index}/planes/{plane}/label", responses=BYTES, response_class=Response)
    def label(index: Index, plane: Plane) -> Response:
        """Values of the classes in a plane, a byte each."""
        with page.live.lock:
            planes = page.open(index).drawing.planes
            if plane >= len(planes):
                raise HTTPException(404, f"plane is unknown: expected 0 to {len(planes) - 1}, got {plane}.")
            return Response(planes[plane].tobytes(), media_type="application/octet-stream")

    @app.get("/api/images/{index}/thumbnail", responses=PNG, response_class=Response)
    def thumbnail(index: Index) -> Response:
        """PNG of an image for the list."""
        return Response(page.thumbnail(index), media_type="image/png")


def _add_drawing(app: FastAPI, page: Page) -> None:
    @app.post("/api/images/{index}/strokes")
    def stroke(index: Index, message: StrokeMessage, tab: Tab) -> DrawnMessage:
        """Keep a stroke; it is on the disk when this answers."""
        _check_tab(page, tab)
        with page.live.lock:
            page.open(index).drawing.stroke(message.plane, message.runs, message.tool)
            return page.drawn(index, NOTHING)

    @app.post("/api/images/{index}/prompts")
    def prompt(index: Index, message: PromptMessage, tab: Tab) -> DrawnMessage:
        """Say where a class is; what changes by it is kept, and told."""
        _check_tab(page, tab)
        redrawn = page.prompt(index, message)
        with page.live.lock:
            return page.drawn(index, redrawn)

    @app.post("/api/images/{index}/undo")
    def undo(index: Index, tab: Tab) -> DrawnMessage:
        """Take the last stroke back."""
        _check_tab(page, tab)
        with page.live.lock:
            return page.drawn(index, page.open(index).drawing.undo() or NOTHING)

    @app.post("/api/images/{index}/redo")
    def redo(index: Index, tab: Tab) -> DrawnMessage:
        """Make the stroke again that was taken back last."""
        _check_tab(page, tab)
        with page.live.lock:
            return page.drawn(index, page.open(index).drawing.redo() or NOTHING)

    @app.post("/api/images/{index}/accept")
    def accept(index: Index, tab: Tab) -> AcceptedMessage:
        """Write the drawing as a label, which makes the image an example."""
        _check_tab(page, tab)
        with page.live.lock:
            path = page.accept(index)
        return AcceptedMessage(label=path.relative_to(page.folder.folder).as_posix())


def _add_export(app: FastAPI, page: Page) -> None:
    @app.get("/api/export/{form}", responses=BYTES, response_class=Response)
    def export(form: Literal["masks", "task"] | WrittenTool) -> Response:
        """All masks in an archive: label maps, or the files of an annotation tool; or the examples as a saved task."""
        if form == "task":
            return _download(task_of(page.live), "examples.task")
        tool = None if form == "masks" else form
        return _download(archive(page.folder, page.live, tool), f"{form}.zip")


def _download(content: bytes, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _check_tab(page: Page, tab: str) -> None:
    if tab != page.news.tab:
        raise HTTPException(409, "This folder is open in another tab.")
