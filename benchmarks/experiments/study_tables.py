"""Tables of the architecture studies: a line per row, averaged over its seeds, the best first."""

from collections.abc import Callable, Iterable
from statistics import mean
from typing import Any

from benchmarks.experiments.relative_cost import MANY_QUERIES
from benchmarks.experiments.study import SUPPORT_SIZES, Of
from incontext.training.prompted import CLICKS, DEV_SUPPORT

Result = dict[str, Any]
Column = Callable[[list[Result]], str]
"""Function that writes what a column tells of the results of a row."""


def table(results: Iterable[Result], command: str, of: Of = "network") -> str:
    """Write a Markdown table with a line per row of a study, averaged over its seeds, the best first.

    Args:
        results: Results of trials with the same processor time; their costs and speeds are multiples of the default's.
        command: Command that measures a row, up to the row's name.
        of: Subject of the study.
    """
    by_row: dict[str, list[Result]] = {}
    for result in results:
        by_row.setdefault(result["row"], []).append(result)
    columns = COLUMNS[of]
    best_first = sorted(by_row.items(), key=lambda item: -mean(map(_dice, item[1])))
    lines = [[f'`{command} "{row}"`', *(tell(found) for tell in columns.values())] for row, found in best_first]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (["row", *columns], ["---"] * (1 + len(columns)), *lines))


def _dice(result: Result) -> float:
    """Mean of all figures of Dice, those without a click excepted: no prompted network changes them."""
    return 100 * mean(dice for name, dice in result["dev_dice"].items() if not name.endswith("_clicks0"))


def _each_dice(found: list[Result]) -> str:
    each = [_dice(result) for result in found]
    return f"{mean(each):.1f}" + (f" ({', '.join(f'{value:.1f}' for value in each)})" if len(each) > 1 else "")


def _figure(name: str, digits: int) -> Column:
    return lambda found: f"{mean(result[name] for result in found):.{digits}f}"


def _query_cost(count: int) -> Column:
    """Column of the cost of a query for each size of the support, one alone or each of many."""
    return lambda found: " / ".join(
        f"{mean(result['query_cost'][str(size)][str(count)] for result in found):.2f}" for size in SUPPORT_SIZES
    )


def _after_clicks(support: int, clicks: Iterable[int]) -> Column:
    names = [f"s{support}_clicks{count}" for count in clicks]
    return lambda found: " / ".join(f"{100 * mean(result['dev_dice'][name] for result in found):.1f}" for name in names)


COLUMNS: dict[Of, dict[str, Column]] = {
    "network": {
        "dev Dice": _each_dice,
        "steps": _figure("steps", 0),
        "queries learnt": _figure("queries_learnt", 2),
        "cost of a query, S = 1 / 16 / 64": _query_cost(1),
        "with 200 queries": _query_cost(MANY_QUERIES),
    },
    "prompts": {
        "dev Dice": _each_dice,
        f"S = 0, {' / '.join(map(str, CLICKS[1:]))} clicks": _after_clicks(0, CLICKS[1:]),
        f"S = {DEV_SUPPORT}, {' / '.join(map(str, CLICKS))} clicks": _after_clicks(DEV_SUPPORT, CLICKS),
        "steps": _figure("steps", 0),
        "queries learnt": _figure("queries_learnt", 2),
        "cost of a click": _figure("click_cost", 2),
        "parameters": _figure("parameters", 0),
    },
}
"""Columns of the table of each study after the row's name, by what stands at their heads."""
