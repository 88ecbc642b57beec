"""Pictures: every class where it belongs, every tile where it was put."""

import numpy as np
from PIL import Image

from incontext.folders.overlay import CAPTION_PX, UNKNOWN_RGB, Tile, contact_sheet, draw


def test_classes_are_outlined_in_their_colours_and_the_rest_stays_grey():
    image = np.full((8, 8), 0.5)
    label = np.zeros((8, 8), np.uint8)
    label[1:6, 1:6] = 7
    pixels = np.asarray(draw(image, label, {3: "#56b4e9", 7: "#e69f00"}, size_px=8))
    assert pixels[1, 3].tolist() == [230, 159, 0]
    assert pixels[7, 7].tolist() == [128, 128, 128]
    inside = pixels[3, 3].astype(int)
    assert not np.array_equal(inside, [128, 128, 128])
    assert not np.array_equal(inside, [230, 159, 0])


def test_an_elongated_image_is_centred_on_black():
    pixels = np.asarray(draw(np.ones((4, 8)), np.zeros((4, 8), np.uint8), {}, size_px=16))
    assert pixels.shape == (16, 16, 3)
    assert pixels[:4].max() == 0
    assert pixels[4:12].min() == 255


def test_tiles_stand_in_rows_under_their_captions():
    tiles = [Tile(name, draw(np.ones((2, 2)), np.zeros((2, 2), np.uint8), {}, 20)) for name in "abc"]
    sheet = contact_sheet([tiles[:2], tiles[2:]], margin_px=4)
    assert sheet.size == (4 + 2 * 24, 4 + 2 * (24 + CAPTION_PX))
    assert sheet.getpixel((4 + 10, 4 + CAPTION_PX + 10)) == (255, 255, 255)


def test_a_caption_longer_than_its_tile_is_cut():
    tile = Tile("x" * 200 + "→", draw(np.zeros((2, 2)), np.zeros((2, 2), np.uint8), {}, 20))
    sheet = np.asarray(contact_sheet([[tile]], margin_px=4))
    assert sheet[: CAPTION_PX + 4, -4:].min() == 255


def test_a_caption_of_several_lines_is_one_line():
    picture = draw(np.zeros((2, 2)), np.zeros((2, 2), np.uint8), {}, 60)
    broken, joined = (contact_sheet([[Tile(text, picture)]]) for text in ("a\nb.png", "a b.png"))
    assert np.array_equal(broken, joined)


def test_pixels_that_nobody_judged_are_checked():
    label, unknown = np.zeros((8, 8), np.uint8), np.zeros((8, 8), bool)
    label[:, :2], unknown[:, 1:5] = 1, True
    pixels = np.asarray(draw(np.zeros((8, 8)), label, {1: "#e69f00"}, 8, unknown))
    checked = (pixels == UNKNOWN_RGB).all(axis=-1)
    assert not checked[:, :2].any(), "a class that is drawn there nevertheless hides them"
    assert checked[:, 2:5].sum() == 12
    assert not checked[:, 5:].any()


def test_a_legend_and_a_title_stand_above_the_tiles() -> None:
    tile = Tile("a.png", Image.new("RGB", (60, 60), "black"))
    plain = np.asarray(contact_sheet([[tile, tile]]))
    legend = {"liver": "#ff0000", "spleen with a long name": "#0000ff", "kidney": "#00ff00"}
    sheet = np.asarray(contact_sheet([[tile, tile]], legend=legend, title="2 of 9 masks shown"))
    height = len(sheet) - len(plain)
    assert np.array_equal(sheet[height:], plain)
    head = sheet[:height].reshape(-1, 3)
    assert (head.max(axis=1) < 128).any()  # letters
    for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0)):
        assert (head == colour).all(axis=1).sum() == 121
