"""Datasets that labelled images come from, with the licences under which these may be passed on."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

LONGEST = 1000
"""Characters of a title or licence."""
UNNAMED = "images of no named source"

Text = Annotated[str, StringConstraints(max_length=LONGEST)]


class ImageSource(BaseModel):
    """Dataset that images come from.

    Attributes:
        title: Title or name of the dataset.
        licence: Licence as its source states it; empty if it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Text = ""
    licence: Text = ""

    @classmethod
    def of(cls, title: str, licence: str | None) -> "ImageSource":
        """Make one of the texts of a card, which may be longer than what is kept of them."""
        return cls(title=title[:LONGEST], licence=(licence or "")[:LONGEST])
