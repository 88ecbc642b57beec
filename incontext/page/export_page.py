"""The page of exported masks: pictures with a legend, the worst first, that needs no script and no network."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from incontext.folders.overlay import draw
from incontext.page.display import Scale
from incontext.page.mask_to_export import LackingMask, MaskToExport
from megamed.unknown import UNKNOWN

MOST_SHOWN = 100
"""Number of images that are shown; a table beside the page has all."""
PICTURE_PX = 240
STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; padding: 0; }
ul i { border: 1px solid #8886; display: inline-block; height: .9em; margin-right: .4em; width: .9em; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); }
figure { margin: 0; }
img { display: block; height: auto; max-width: 100%; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class ShownMask:
    """A mask over its image, with what is said of it.

    Attributes:
        name: Name of the image.
        told: State and predicted Dice, in words.
        dice: Predicted Dice; None of masks that somebody accepted, or if the weights predict none.
        png: The picture.
    """

    name: str
    told: str
    dice: float | None
    png: bytes

    @classmethod
    def of(cls, mask: MaskToExport, colours: Mapping[int, str]) -> "ShownMask":
        """Draw a mask, of a volume that in the plane with most of it."""
        plane = int(np.count_nonzero(mask.planes, axis=(1, 2)).argmax())
        black, white = Scale.of(mask.case).window
        grey = np.clip((mask.case.planes[plane] - black) / (white - black), 0, 1)
        label, content = mask.planes[plane], io.BytesIO()
        unknown = label == UNKNOWN
        draw(grey, label, colours, PICTURE_PX, unknown if unknown.any() else None).save(content, "PNG")
        told = mask.state if mask.dice is None else f"{mask.state}, Dice about {mask.dice:.2f}"
        if len(mask.planes) > 1:
            told += f", slice {plane + 1} of {len(mask.planes)}"
        return cls(mask.name, told, mask.dice, content.getvalue())


def export_page(
    title: str, shown: Sequence[ShownMask], legend: Mapping[str, str], left_out: Sequence[LackingMask] = ()
) -> str:
    """Write the page.

    Args:
        title: Name of the folder.
        shown: All masks; those that are probably worst are shown.
        legend: Colours by the names of the classes.
        left_out: Images without their masks, which are named.
    """
    ordered = sorted(shown, key=lambda each: 2.0 if each.dice is None else each.dice)[:MOST_SHOWN]
    count = f"{len(ordered)} of {len(shown)} masks, the worst first." if len(ordered) < len(shown) else "Worst first."
    classes = "".join(f'<li><i style="background:{colour}"></i>{escape(name)}</li>' for name, colour in legend.items())
    told = "".join(f"<p>Left out: {escape(each.name)}: {escape(each.reason)}</p>\n" for each in left_out)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}: masks</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p>{count} Dice is the overlap of a mask with what a person would draw, from 0 to 1, as it is predicted.</p>
{told}<ul aria-label="Classes">{classes}</ul>
<main>
{chr(10).join(map(_figure, ordered))}
</main>
</body>
</html>
"""


def _figure(shown: ShownMask) -> str:
    data = base64.b64encode(shown.png).decode()
    name = escape(shown.name)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="Mask of {name}"><figcaption>{name}<br>'
        f"{escape(shown.told)}</figcaption></figure>"
    )
