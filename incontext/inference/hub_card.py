"""Card of a repository on a hub: what is in it, of which data and under which licence, and how to use it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from incontext.inference.hub_contents import Kind
from incontext.inference.image_source import UNNAMED, ImageSource
from megamed.failures import one_line

LICENCES = re.compile(
    r"apache-2\.0|mit|cc0-1\.0|cc-by-[234]\.0|cc-by-sa-[34]\.0|cc-by-nc-[34]\.0|cc-by-nc-sa-[34]\.0|cc-by-nc-nd-[34]\.0"
    r"|bsd-[23]-clause|gpl-[23]\.0|lgpl-3\.0|agpl-3\.0|odbl|pddl"
)
"""Names that the hub has for licences."""
TRACES = (
    "The images are left out: the file holds what the network has read of them. This code still shows traces of the "
    "images and labels, such as where labels lie on average."
)
NO_DEVICE = "This is research software, not a medical device."


def card_of(name: str, kind: Kind, licence: str, sources: Sequence[ImageSource], facts: Mapping[str, Any]) -> str:
    """Write the card of a repository, in Markdown with the head that the hub reads.

    Args:
        name: Name of the repository, `owner/name`.
        kind: What is in it.
        licence: Licence of the whole; empty if nobody states one.
        sources: Datasets of the images in it, or that weights were trained on.
        facts: What is told of it: of a task as by `task_file.describe_task`, and its expected Dice.
    """
    parts = [
        _head(kind, licence),
        f"# {_plain(name)}",
        *(_of_task(facts) if kind == "task" else ["Network weights, to segment images by labelled examples."]),
        "## Use",
        _use(name, kind),
        "## Data",
        _table(("dataset", "licence"), [(each.title or UNNAMED, each.licence or "unknown") for each in sources])
        if sources
        else "The publisher names no source of the images.",
        NO_DEVICE,
    ]
    return "\n\n".join(parts) + "\n"


def _head(kind: Kind, licence: str) -> str:
    known = re.sub(r"[\s_]+", "-", licence.strip().lower()).replace("cc-0", "cc0")
    known = "cc0-1.0" if known == "cc0" else known
    head: dict[str, Any] = {"license": known} if LICENCES.fullmatch(known) else {"license": "other"}
    if licence and known not in head.values():
        head["license_name"] = one_line(licence)
    head |= {"library_name": "incontext-seg", "pipeline_tag": "image-segmentation"}
    head["tags"] = ["medical", "in-context-learning", "few-shot", f"incontext-{kind}"]
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())  # JSON is YAML
    return "\n".join(("---", *lines, "---"))


def _of_task(facts: Mapping[str, Any]) -> Iterable[str]:
    author = f" by {_plain(facts['author'])}" if facts["author"] else ""
    yield f"A task{author}: labelled images by which others are segmented."
    dice: Mapping[int, str] = facts["expected_dice"]
    rows = [
        (str(value), each["name"], str(each["labelled_images"] or "–"), dice.get(value, "–"))
        for value, each in facts["classes"].items()
    ]
    yield _table(("value", "class", "labelled images that show it", "expected Dice"), rows)
    if facts["codes_only"]:
        yield TRACES
    yield f"Made with the weights {_plain(facts['weights']['name'])} of SHA-256 {facts['weights']['sha256']}."


def _use(name: str, kind: Kind) -> str:
    call = "load_task" if kind == "task" else "from_pretrained"
    option = f"--task {name}" if kind == "task" else f"--support examples --weights {name}"
    return (
        'In the shell, after `pip install "incontext-seg[hub]"`:\n\n'
        f"```sh\nincontext segment {option} --query images --out results\n```\n\n"
        f'In Python:\n\n```python\nfrom incontext import Segmenter\n\nsegmenter = Segmenter.{call}("{name}")\n```'
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _plain(text: str) -> str:
    """Write a text so that it means itself in Markdown."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", one_line(text))
