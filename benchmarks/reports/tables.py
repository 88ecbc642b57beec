"""Plain tables of results in Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from math import isfinite

from benchmarks.analysis.summary import percent, plain, subjects_of
from benchmarks.reports.gather import Results
from megamed.cells import safe_line

CSV_HEADER = ("support_size", "level", "name", "predictor", "dice", "low", "high", "subjects", "false_alarms")
ALARMS = "False alarms, % of the queries without the structure"
LATEX_SPECIAL = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
    }
)


def markdown(results: Results) -> str:
    """Write Markdown tables of scores over all datasets by support size, and per task at the largest, in per cent."""
    parts = [
        f"Dice, % (95 % interval) on suite `{results.settings['suite']}`.\n",
        _markdown_table(("examples per query", "subjects", *results.ranking), by_size(results)),
        f"\nWith {results.size} labelled examples per query:\n",
        _markdown_table(("task", "subjects", *results.ranking), by_task(results)),
        *_alarms(results, _markdown_table),
        *_markdown_annotators(results),
        f"\n{results.main.summary['method']}\n",
        *(f"\nPlan at {size} examples: `{each.plan_hash}`." for size, each in results.sizes.items()),
        f"\nCollection: `{results.settings.get('collection_sha256', 'unknown')}`.",
        f"\nSettings: {_settings(results)}.",
        *([f"\nLicences: {_listed(results.licenses)}."] if results.licenses else []),
        *(f"\n{kind.replace('_', ' ').capitalize()}: {_listed(notes)}." for kind, notes in results.notes.items()),
    ]
    return "\n".join(parts).replace("`.\n\nPlan", "`.\nPlan") + "\n"


def latex(results: Results) -> str:
    """Write the results as two booktabs tables."""
    settings = results.settings
    return "\n".join(
        [
            f"% suite {settings['suite']}, collection {settings.get('collection_sha256', 'unknown')}",
            f"% {_settings(results)}",
            *(f"% plan at {size} examples: {each.plan_hash}" for size, each in results.sizes.items()),
            *(f"% {kind}: {_listed(notes)}".replace("\n", " ") for kind, notes in results.notes.items()),
            f"% licences: {_listed(results.licenses)}".replace("\n", " "),
            _latex_table(("Examples per query", "Subjects", *results.ranking), by_size(results)),
            "",
            _latex_table((f"Task, {results.size} examples", "Subjects", *results.ranking), by_task(results)),
            "",
            *_alarms(results, _latex_table),
        ]
    )


def comma_separated(results: Results) -> str:
    """Write CSV with a line per support size, level (overall, dataset or task) and predictor; Dice in [0, 1]."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for size, each in results.sizes.items():
        summary = each.summary
        alarms = summary.get("false_alarms", {})
        alarms = {"overall": {"": alarms.get("overall", {})}, "task": alarms.get("tasks", {})}
        levels = {"overall": {"": summary["overall"]}, "dataset": summary["datasets"], "task": summary["tasks"]}
        for level, named in levels.items():
            for name, by_predictor in named.items():
                for predictor, value in by_predictor.items():
                    ends = [f"{value[end]:.4f}" for end in ("mean", "low", "high")]
                    subjects = value.get("subjects", "")
                    alarm = alarms.get(level, {}).get(name, {}).get(predictor)
                    shown = f"{alarm['mean']:.4f}" if alarm else ""
                    writer.writerow(safe_line([size, level, name, predictor, *ends, subjects, shown]))
    return text.getvalue()


FORMATS: dict[str, Callable[[Results], str]] = {"markdown": markdown, "csv": comma_separated, "latex": latex}
"""Functions that write results as text, by the name of the format."""


def by_size(results: Results) -> Iterator[list[str]]:
    """Yield the cells of a line per support size: it, the subjects, then the mean over datasets of each predictor."""
    for size, each in results.sizes.items():
        overall = each.summary["overall"]
        yield [str(size), subjects_of(overall), *_cells(overall, results.ranking)]


def by_task(results: Results) -> Iterator[list[str]]:
    """Yield the cells of a line per task at the largest support size: its id, its subjects, then each score."""
    for task, values in results.main.summary["tasks"].items():
        yield [task, subjects_of(values), *_cells(values, results.ranking)]


def by_alarms(results: Results) -> Iterator[list[str]]:
    """Yield the cells of a line for all tasks and for each that was asked of images without its structure."""
    alarms = results.main.summary.get("false_alarms", {})
    for name, values in {"mean over datasets": alarms.get("overall", {}), **alarms.get("tasks", {})}.items():
        yield [name, subjects_of(values), *_cells(values, results.ranking)]


def by_annotators(results: Results) -> Iterator[list[str]]:
    """Yield the cells of a line per metric and dataset with several annotators: both names, subjects, then scores."""
    for line in results.annotators():
        cells = (plain(line.values[name]) if name in line.values else "–" for name in results.ranking)
        yield [f"{line.dataset}, {line.metric}", subjects_of(line.values), *cells]


def _markdown_annotators(results: Results) -> list[str]:
    if not results.annotators():
        return []
    header = ("all draws against several annotators", "subjects", *results.ranking)
    return ["", _markdown_table(header, by_annotators(results))]


def _alarms(results: Results, table: Callable[[Sequence[str], Iterator[list[str]]], str]) -> list[str]:
    """The table of false alarms, between empty lines; nothing if nobody asked."""
    return ["", table((ALARMS, "subjects", *results.ranking), by_alarms(results)), ""] if results.false_alarms else []


def _settings(results: Results) -> str:
    told = ("suite", "collection_sha256")
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in results.settings.items() if name not in told
    )


def _cells(values: dict[str, dict[str, float]], names: Sequence[str]) -> list[str]:
    return [percent(values[name]) if name in values and isfinite(values[name]["mean"]) else "–" for name in names]


def _listed(notes: dict[str, str]) -> str:
    return "; ".join(f"{name} ({reason})" if reason else name for name, reason in notes.items())


def _markdown_table(header: Sequence[str], lines: Iterator[list[str]]) -> str:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in (header, *lines)]
    cells.insert(1, ["---", *("---:" for _ in header[1:])])
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _latex_table(header: Sequence[str], lines: Iterator[list[str]]) -> str:
    head, *body = (
        " & ".join(cell.translate(LATEX_SPECIAL).replace("–", "--") for cell in line) + r" \\"
        for line in (header, *lines)
    )
    columns = "l" + "r" * (len(header) - 1)
    return "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    )
