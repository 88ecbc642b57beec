"""Messages between the page and its server, in JSON."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from incontext.page.drawing import Said
from incontext.page.drawn_classes import LONGEST_NAME
from incontext.page.live import Progress
from incontext.page.prediction import Prediction
from incontext.page.store import ListedImage

MOST_CLASSES = 255
MOST_POINTS = 20_000
TABS = r"^[0-9a-f]{8,64}$"
"""Pattern of the names that tabs give themselves."""

Value = Annotated[int, Field(ge=1, le=MOST_CLASSES)]
Place = Annotated[float, Field(ge=0, le=2**31, allow_inf_nan=False)]
Run = Annotated[int, Field(ge=0, le=2**40)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class ClassMessage(_Message):
    """A class that is drawn."""

    value: Value
    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r'^[^\x00-\x1f"]*$')]
    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class ClassUseMessage(_Message):
    """Numbers of images in which a class is drawn and of accepted ones of them, and if a label shows another class."""

    drawn: int
    accepted: int
    shows_others: bool


class ClassesMessage(_Message):
    """All classes, in their order."""

    classes: Annotated[list[ClassMessage], Field(min_length=1, max_length=MOST_CLASSES)]


class ImageEntry(_Message):
    """An image of the list."""

    id: int
    name: str
    state: str
    dice: float | None = None
    look_first: bool = False
    failure: str = ""
    is_suspect: bool = False
    is_absent: bool = False
    propagations: int = 0

    @classmethod
    def told(
        cls, index: int, image: ListedImage, found: Prediction | None, failure: str, suspects: set[str]
    ) -> "ImageEntry":
        """Tell the state of an image."""
        state = "predicted" if found and image.state == "bare" else image.state
        shown = found if state == "predicted" else None
        return cls(
            id=index,
            name=image.name,
            state=state,
            dice=shown.dice if shown else None,
            look_first=bool(shown and shown.look_first),
            failure=failure,
            is_suspect=image.pair.name in suspects,
            is_absent=bool(shown and shown.is_absent),
        )


class ProgressMessage(_Message):
    """Progress of what runs in the background."""

    stage: str
    done: int
    total: int
    eta_s: float | None
    error: str

    @classmethod
    def told(cls, progress: Progress) -> "ProgressMessage":
        """Tell the progress."""
        return cls.model_validate(progress)


class TuningMessage(_Message):
    """Progress of tuning, and what the last one has come to."""

    is_running: bool
    done: int
    total: int
    eta_s: float | None
    outcome: str


class ExpectedMessage(_Message):
    """Dice to expect of new images, by class."""

    value: int
    dice: float
    low: float
    high: float


class NewsMessage(_Message):
    """State of the folder, or what is new in it."""

    images: list[ImageEntry]
    classes: list[ClassMessage]
    retired: list[int]
    notes: list[str]
    expected: list[ExpectedMessage]
    progress: ProgressMessage
    takes_prompts: bool
    tuning: TuningMessage


class SessionMessage(NewsMessage):
    """State of the folder, for a tab that opens."""

    folder: str


class PromptEntry(_Message):
    """A prompt of an image that counts, with its number."""

    number: int
    plane: int
    value: int
    kind: str
    inside: bool
    points: list[tuple[float, float]]

    @classmethod
    def listed(cls, prompts: Mapping[int, tuple[int, Said]]) -> "list[PromptEntry]":
        """List prompts in the order in which they were said."""
        return [cls(number=number, plane=plane, **said) for number, (plane, said) in prompts.items()]


class PropagatedMessage(_Message):
    """Outcome of the last propagation through a volume, and whether it stands, or was taken back."""

    count: int
    stands: bool
    dice: float | None
    next_plane: int | None


class TilesMessage(_Message):
    """Tiles that an image is shown by, and the steps of the resolution from its level to the finest and coarsest."""

    side: int
    finest: int
    coarsest: int


class ImageMessage(_Message):
    """An image that is opened."""

    id: int
    name: str
    planes: int
    height: int
    width: int
    has_colours: bool
    bits: int
    low: float
    high: float
    window: tuple[float, float]
    spacing_mm: tuple[float, float, float] | None
    notes: list[str]
    undoable: int
    redoable: int
    drawn_planes: list[int]
    shown_planes: list[int]
    prompts: list[PromptEntry]
    presence: dict[int, float]
    sides: list[str]
    axes: tuple[int, int, int]
    steps: tuple[int, int, int]
    is_flat: bool
    rises: bool
    tiles: TilesMessage | None
    full_size: tuple[int, int] | None
    level: int
    propagated: PropagatedMessage | None
    round: int


class StrokeMessage(_Message):
    """Pixels of a plane that take other values, as starts and lengths by value."""

    plane: Annotated[int, Field(ge=0)]
    tool: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
    runs: dict[Annotated[int, Field(ge=0, le=MOST_CLASSES)], list[Run]]


class PlaneMessage(_Message):
    """A class in a plane, which prompts are about."""

    plane: Annotated[int, Field(ge=0)]
    value: Value


class PromptMessage(PlaneMessage):
    """Prompt about a class in a plane: a click, a scribble, or two corners of a box, as rows and columns."""

    kind: Literal["click", "scribble", "box"]
    points: Annotated[list[tuple[Place, Place]], Field(min_length=1, max_length=MOST_POINTS)]
    inside: bool = True

    @model_validator(mode="after")
    def _has_its_points(self) -> Self:
        count = {"click": 1, "box": 2}.get(self.kind, len(self.points))
        if len(self.points) != count:
            msg = f"points of a {self.kind} are wrong: expected {count}, got {len(self.points)}."
            raise ValueError(msg)
        return self


class DrawnMessage(_Message):
    """State of a drawing after a stroke; the runs are to be shown, all planes if there is none."""

    undoable: int
    redoable: int
    state: str
    prompts: list[PromptEntry]
    drawn_planes: list[int]
    plane: int | None = None
    runs: dict[int, list[int]] = {}


class AcceptedMessage(_Message):
    """The label file that was written, below the folder."""

    label: str


class ExportMessage(_Message):
    """A form in which masks are taken away, and the reason why that cannot be now; empty if it can."""

    form: str
    title: str
    reason: str


class ExportsMessage(_Message):
    """Numbers of masks by the states of their images, forms in which they are taken away, and images that are gone."""

    counts: dict[str, int]
    forms: list[ExportMessage]
    gone: list[str]


class Refusal(_Message):
    """Reason why nothing was done."""

    detail: str
