"""Contact sheets, and the page that shows them."""

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed import Collection
from megamed.build import BuildReport
from megamed.preview import CAPTION_PX, OUTLINE_RGB, contact_sheet, outlined, save_previews


class Page(HTMLParser):
    """Collects the tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, tag: str, attribute: str) -> list[str | None]:
        return [attributes[attribute] for name, attributes in self.tags if name == tag]


def test_outline_is_the_rim_of_the_label() -> None:
    label = np.zeros((5, 5), np.uint8)
    label[1:4, 1:4] = 1
    painted = (outlined(np.full((5, 5), 9, np.uint8), label) == OUTLINE_RGB).all(axis=-1)
    assert painted.astype(int).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


def test_every_dataset_has_a_sheet_and_a_place_on_the_page(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    make_dataset(2)
    build_folder(make_dataset(1, "data/other", id="other", title="Others").parent)
    path = save_previews(tmp_path / "out", tmp_path / "a" / "preview")
    assert sorted(file.name for file in path.parent.glob("[!.]*")) == ["drawn.png", "index.html", "other.png"]
    with Image.open(path.parent / "drawn.png") as sheet:
        assert sheet.size == (6 * 16, 3 * (16 + CAPTION_PX))
    page = Page(path.read_text())
    assert page.values("a", "href") == ["drawn.png", "other.png"]
    assert "2 datasets, 6 tasks" in page.text
    assert "CT (drawn) · train · 2 subjects · 3 tasks · CC0" in page.text
    assert "Others" in page.text


def test_page_stands_alone(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    build_folder(make_dataset(2))
    text = save_previews(tmp_path / "out", tmp_path / "preview").read_text()
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    assert not re.search(r"https?://", text)
    (source,) = page.values("img", "src")
    assert source is not None
    kind, _, content = source.partition(";base64,")
    assert kind == "data:image/jpeg"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        assert picture.size == (6 * 16, 16)


def test_words_of_cards_are_no_markup(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    hostile = '<script>alert("1")</script>&'
    build_folder(make_dataset(1, title=hostile, license=hostile, anatomy=hostile, modality=f"CT {hostile}"))
    page = Page(save_previews(tmp_path / "out", tmp_path / "preview").read_text())
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(hostile) == 4


def test_some_datasets_may_be_chosen(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    make_dataset(1)
    build_folder(make_dataset(1, "data/other", id="other").parent)
    folder = save_previews(tmp_path / "out", tmp_path / "preview", ["other"]).parent
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["index.html", "other.png"]
    with pytest.raises(ValueError, match="Did you mean 'other'"):
        save_previews(tmp_path / "out", tmp_path / "preview", ["others"])


def test_nothing_to_preview_is_an_error(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    build_folder(make_dataset(1))
    with Collection(tmp_path / "out") as collection, pytest.raises(ValueError, match="Nothing to preview"):
        contact_sheet(collection, [])
    with pytest.raises(ValueError, match="Nothing to preview"):
        save_previews(tmp_path / "out", tmp_path / "preview", [])
    assert not (tmp_path / "preview").exists()
