"""The page of a library of tasks: a table with pictures, that needs no script and no network."""

from collections.abc import Iterable
from html import escape

from incontext.inference.library_entries import Entry
from incontext.inference.task_library import PICTURES, TASKS, TaskLibrary

STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8886; padding: .5rem; text-align: left; vertical-align: top; }
img { display: block; height: 96px; width: 96px; }
code { font-size: .8rem; overflow-wrap: anywhere; }
"""
POLICY = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"
COLUMNS = ("", "task", "classes", "images", "expected Dice", "licence", "SHA-256")


def library_page(library: TaskLibrary) -> str:
    """Write the page of a library, which stands beside its index."""
    title = escape(f"Tasks in {library.folder.name}")
    rows = "\n".join(map(_row, sorted(library.entries, key=lambda entry: entry.name)))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p>{len(library.entries)} tasks. The expected Dice is that of labelled images, each segmented by the others.</p>
<table>
<thead><tr>{_cells("th", COLUMNS)}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def _row(entry: Entry) -> str:
    name = escape(entry.name)
    picture = f'<img src="{PICTURES}/{name}.png" alt="A labelled image of {name}">'
    sources = ", ".join(each.title for each in entry.sources if each.title)
    licence = f"{entry.licence or 'unknown'}{f' ({sources})' if sources else ''}"
    texts = (", ".join(entry.classes.values()), str(entry.labelled_images or "code alone"), entry.dice, licence)
    link = f'<a href="{TASKS}/{name}.task">{name}</a>{f"<br>by {escape(entry.author)}" if entry.author else ""}'
    return f"<tr>{_cells('td', (picture, link, *map(escape, texts), f'<code>{escape(entry.sha256)}</code>'))}</tr>"


def _cells(kind: str, texts: Iterable[str]) -> str:
    return "".join(f"<{kind}>{text}</{kind}>" for text in texts)
