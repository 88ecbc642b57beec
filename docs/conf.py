"""How Sphinx builds these pages: `make docs`."""

import re

from sphinx.application import Sphinx

from incontext import __version__

project = "incontext-seg"
release = __version__
project_copyright = "the authors of incontext-seg, Apache-2.0"
html_title = "incontext-seg"
html_theme = "furo"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "**/__pycache__"]
templates_path: list[str] = []

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
napoleon_custom_sections = [("Source", "notes_style")]
maximum_signature_line_length = 100


def escape_stars(app: Sphinx, what: str, name: str, source: object, options: object, lines: list[str]) -> None:
    """Keep reStructuredText from taking the star of a shape, such as (*grid), for the start of an emphasis."""
    for number, line in enumerate(lines):
        plain_and_code = line.split("`")
        plain_and_code[::2] = (re.sub(r"\*(?=\w)", r"\\*", plain) for plain in plain_and_code[::2])
        lines[number] = "`".join(plain_and_code)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", escape_stars, priority=100)
