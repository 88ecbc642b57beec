"""Contents of a repository on a hub, as `incontext.json` in it lists them: the files with their sizes and hashes."""

import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from incontext.inference.image_source import LONGEST, ImageSource

CONTENTS = "incontext.json"
MOST_BYTES = 2**32
"""Largest file that is taken from a hub, in bytes."""
MOST_FILES = 8

Kind = Literal["weights", "task"]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]{0,99}\.safetensors$")]
"""Name of a file to load: a bare one, of the one format in which nothing can be executed."""


class ListedFile(BaseModel):
    """Size and hash of a file that a repository has to hold."""

    model_config = ConfigDict(frozen=True)

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: int = Field(ge=1, le=MOST_BYTES)


class HubContents(BaseModel):
    """List of what a repository holds. Further entries, of later versions, are not read.

    Attributes:
        format: Name of this form of the list.
        kind: Whether weights or a task are to be loaded.
        main: Name of the file to load.
        files: The main file and those that belong to it, such as a task's weights, by name.
        licence: Licence of the whole as its publisher states it.
        sources: Datasets of the images that are in it, or that weights were trained on.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal["incontext-hub-1"] = "incontext-hub-1"
    kind: Kind
    main: FileName
    files: dict[FileName, ListedFile] = Field(min_length=1, max_length=MOST_FILES)
    licence: Annotated[str, StringConstraints(max_length=LONGEST)] = ""
    sources: tuple[ImageSource, ...] = ()

    @model_validator(mode="after")
    def _lists_its_main_file(self) -> Self:
        if self.main not in self.files:
            msg = f"expected {self.main} among the files, got {', '.join(self.files)}"
            raise ValueError(msg)
        return self

    @classmethod
    def parsed(cls, text: bytes) -> Self:
        """Read a list from somebody who need not be trusted.

        Raises:
            ValueError: If it is none; the message says what was got, without a full stop.
        """
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            msg = f"one that is wrong at {place:.80}: {first['msg']:.200}"
            raise ValueError(msg) from error
        except (ValueError, RecursionError) as error:
            msg = f"no JSON: {error}" if text else "an empty file"
            raise ValueError(msg) from error
