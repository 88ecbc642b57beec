"""The server of the page: what it can be asked, as an OpenAPI document too."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse

from incontext.page.class_removal import find_uses
from incontext.page.drawn_classes import DrawnClass
from incontext.page.error_answers import answer_errors
from incontext.page.export import archive, export_forms, task_of
from incontext.page.mask_to_export import count_masks, masked
from incontext.page.messages import (
    MOST_CLASSES,
    TABS,
    AcceptedMessage,
    ClassesMessage,
    ClassUseMessage,
    DrawnMessage,
    ExportMessage,
    ExportsMessage,
    ImageMessage,
    PlaneMessage,
    ProgressMessage,
    PromptMessage,
    Refusal,
    SessionMessage,
    StrokeMessage,
    TuningMessage,
)
from incontext.page.state import NOTHING, Page
from megamed.failures import one_line
from megamed.vocabulary import WrittenTool

Responses = dict[int | str, dict[str, Any]]
"""Answers by status, for the OpenAPI document."""
BYTES: Responses = {200: {"content": {"application/octet-stream": {}}}}
PNG: Responses = {200: {"content": {"image/png": {}}}}
REFUSALS: Responses = {
    400: {"model": Refusal, "description": "Body is no text"},
    404: {"model": Refusal, "description": "No such image"},
    409: {"model": Refusal, "description": "Another tab draws, or it cannot be done now"},
    413: {"description": "Body is too large"},
    422: {"model": Refusal, "description": "Request is malformed"},
    507: {"model": Refusal, "description": "Disk or file does not take it"},
}
Index = Annotated[int, InPath(ge=0, le=2**31)]
ClassValue = Annotated[int, InPath(ge=1, le=MOST_CLASSES)]
Plane = Annotated[int, InPath(ge=0, le=2**31)]
Step = Annotated[int, InPath(ge=-32, le=32)]
Tab = Annotated[str, Header(alias="x-tab", pattern=TABS)]


def build_app(page: Page) -> FastAPI:
    """Make the server of a page."""
    app = FastAPI(title="incontext annotate", docs_url=None, redoc_url=None, responses=REFUSALS)

    answer_errors(app, {ValueError: 409, ImportError: 409, OSError: 507})

    @app.exception_handler(RequestValidationError)
    def return_it(_: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        return JSONResponse({"detail": one_line("; ".join(wrong))}, 422)

    _add_state(app, page)
    _add_pixels(app, page)
    _add_strokes(app, page)
    _add_prompts(app, page)
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
            page.folder.classes.keep([DrawnClass(**each.model_dump()) for each in message.classes])
        return page.session()

    @app.get("/api/classes/{value}/uses")
    def uses(value: ClassValue) -> ClassUseMessage:
        """Count the images in which a class is drawn, and tell whether a label shows another class."""
        found = find_uses(page.folder, page.live, value)
        return ClassUseMessage(drawn=len(found.drawn), accepted=len(found.accepted), shows_others=found.shows_others)

    @app.delete("/api/classes/{value}")
    def remove(
        value: ClassValue, tab: Tab, into: Annotated[int | None, Query(ge=0, le=MOST_CLASSES)] = None
    ) -> SessionMessage:
        """Remove a class; where it is drawn, its pixels take another value, or 0, which undo takes back."""
        _check_tab(page, tab)
        page.remove_class(value, into)
        return page.session()

    @app.post("/api/tuning")
    def tune(tab: Tab) -> TuningMessage:
        """Begin to tune the network on the examples."""
        _check_tab(page, tab)
        page.live.tune()
        return TuningMessage.model_validate(page.live.tuner.progress)

    @app.delete("/api/tuning")
    def stop(tab: Tab) -> TuningMessage:
        """End the tuning after the step that is being taken; nothing has changed then."""
        _check_tab(page, tab)
        page.live.tuner.stop()
        return TuningMessage.model_validate(page.live.tuner.progress)


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

    @app.get("/api/images/{index}/tiles/{step}/{row}/{column}", responses=BYTES, response_class=Response)
    def tile(index: Index, step: Step, row: Plane, column: Plane) -> Response:
        """Numbers of a tile of a slide, at a step of the resolution; what lies outside of the slide is 0."""
        with page.live.lock:
            tiled = page.tiled(index)
        found = tiled.tile(step, row, column) if tiled else None
        if found is None:
            raise HTTPException(404, "tile is unknown: expected one that the image has, got another.")
        return Response(found, media_type="application/octet-stream")

    @app.get("/api/images/{index}/planes/{plane}/label", responses=BYTES, response_class=Response)
    def label(index: Index, plane: Plane) -> Response:
        """Values of the classes in a plane, a byte each."""
        with page.live.lock:
            planes = page.open(index).drawing.planes
            if plane >= len(planes):
                raise HTTPException(404, f"plane is unknown: expected 0 to {len(planes) - 1}, got {plane}.")
            return Response(planes[plane].tobytes(), media_type="application/octet-stream")

    @app.get("/api/images/{index}/across/{axis}/{place}", responses=BYTES, response_class=Response)
    def across(index: Index, axis: Literal["1", "2"], place: Plane) -> Response:
        """Numbers of the plane through a row (1) or a column (2) of all planes, then its values of classes."""
        with page.live.lock:
            numbers, values = page.across(index, int(axis), place)
        return Response(numbers + values, media_type="application/octet-stream")

    @app.get("/api/images/{index}/thumbnail", responses=PNG, response_class=Response)
    def thumbnail(index: Index) -> Response:
        """PNG of an image for the list."""
        return Response(page.thumbnail(index), media_type="image/png")


def _add_strokes(app: FastAPI, page: Page) -> None:
    @app.post("/api/images/{index}/strokes")
    def stroke(index: Index, message: StrokeMessage, tab: Tab) -> DrawnMessage:
        """Keep a stroke; it is on the disk when this answers."""
        _check_tab(page, tab)
        with page.live.lock:
            page.check_classes(message.runs)
            page.open(index).drawing.stroke(message.plane, message.runs, message.tool)
            return page.drawn(index, NOTHING)

    @app.post("/api/images/{index}/undo")
    def undo(index: Index, tab: Tab) -> DrawnMessage:
        """Take the last stroke back."""
        _check_tab(page, tab)
        with page.live.lock:
            return page.drawn(index, page.step(index, back=True))

    @app.post("/api/images/{index}/redo")
    def redo(index: Index, tab: Tab) -> DrawnMessage:
        """Make the stroke again that was taken back last."""
        _check_tab(page, tab)
        with page.live.lock:
            return page.drawn(index, page.step(index, back=False))

    @app.post("/api/images/{index}/accept")
    def accept(index: Index, tab: Tab) -> AcceptedMessage:
        """Write the drawing as a label, which makes the image an example."""
        _check_tab(page, tab)
        with page.live.lock:
            path = page.accept(index)
        return AcceptedMessage(label=path.relative_to(page.folder.folder).as_posix())


def _add_prompts(app: FastAPI, page: Page) -> None:
    @app.post("/api/images/{index}/prompts")
    def prompt(index: Index, message: PromptMessage, tab: Tab) -> DrawnMessage:
        """Say where a class is; what changes by it is kept, and told."""
        _check_tab(page, tab)
        redrawn = page.prompt(index, message)
        with page.live.lock:
            return page.drawn(index, redrawn)

    @app.post("/api/images/{index}/preparation", status_code=204, response_model=None)
    def prepare(index: Index, message: PlaneMessage, tab: Tab) -> None:
        """Read a plane for prompts about a class, of which the first is answered sooner then."""
        _check_tab(page, tab)
        page.prepare(index, message)

    @app.delete("/api/images/{index}/prompts/{number}")
    def withdraw(index: Index, number: Index, tab: Tab) -> DrawnMessage:
        """Take a prompt back, whatever came after it."""
        _check_tab(page, tab)
        redrawn = page.withdraw(index, number)
        with page.live.lock:
            return page.drawn(index, redrawn)

    @app.post("/api/images/{index}/propagation", status_code=202)
    def propagate(index: Index, tab: Tab) -> ProgressMessage:
        """Let what is drawn on some planes be found on all others, in the background."""
        _check_tab(page, tab)
        page.check(index)
        page.live.propagate(index)
        return ProgressMessage.told(page.live.progress)


def _add_export(app: FastAPI, page: Page) -> None:
    @app.get("/api/exports")
    def exports() -> ExportsMessage:
        """Forms in which the masks can be taken away, with the reason beside those in which they cannot now."""
        folder, live = page.folder, page.live
        forms = [ExportMessage.model_validate(each) for each in export_forms(folder, live)]
        gone = [image.name for _, image in masked(folder, live) if image.is_missing]
        return ExportsMessage(counts=count_masks(folder, live), forms=forms, gone=gone)

    @app.get("/api/export/{form}", responses=BYTES, response_class=Response)
    def export(form: Literal["masks", "task"] | WrittenTool) -> Response:
        """All masks in an archive: label maps, or the files of an annotation tool; or the examples as a saved task.

        The header `x-left-out` has the number of masks whose images are gone or cannot be read.
        """
        if form == "task":
            return _download(task_of(page.live), "examples.task")
        tool = None if form == "masks" else form
        found = archive(page.folder, page.live, tool)
        return _download(found.content, f"{form}.zip", len(found.left_out))


def _download(content: bytes, name: str, left_out: int = 0) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"', "x-left-out": str(left_out)}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _check_tab(page: Page, tab: str) -> None:
    if tab != page.news.tab:
        raise HTTPException(409, "This folder is open in another tab.")
