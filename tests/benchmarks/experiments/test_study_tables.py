"""The table of a study says what was measured."""

from benchmarks.experiments.study_tables import table


def test_seeds_of_a_row_share_a_line_and_the_best_row_comes_first():
    def result(row: str, seed: int, dice: float) -> dict[str, object]:
        cost = {"1": 0.5, "200": 2.0}
        return {
            "row": row,
            "seed": seed,
            "steps": 100,
            "queries_learnt": 1.25,
            "dev_dice": {"a": dice, "b": dice + 0.1},
            "query_cost": dict.fromkeys(("1", "16", "64"), cost),
        }

    text = table([result("plain", 0, 0.4), result("good", 0, 0.5), result("good", 1, 0.6)], "study --row")
    assert text.splitlines()[2:] == [
        '| `study --row "good"` | 60.0 (55.0, 65.0) | 100 | 1.25 | 0.50 / 0.50 / 0.50 | 2.00 / 2.00 / 2.00 |',
        '| `study --row "plain"` | 45.0 | 100 | 1.25 | 0.50 / 0.50 / 0.50 | 2.00 / 2.00 / 2.00 |',
    ]


def test_a_table_on_prompts_tells_dice_by_support_and_clicks():
    def result(row: str, dice: float) -> dict[str, object]:
        found = {f"s{support}_clicks{clicks}": dice + clicks / 100 for support in (0, 4) for clicks in (0, 1, 3, 5)}
        return {
            "row": row,
            "seed": 0,
            "steps": 90,
            "queries_learnt": 1.25,
            "parameters": 1200,
            "dev_dice": found,
            "click_cost": 0.5,
        }

    text = table([result("plain", 0.4), result("good", 0.5)], "study --row", "prompts")
    head, _, *lines = text.splitlines()
    assert head.split(" | ")[1:4] == ["dev Dice", "S = 0, 1 / 3 / 5 clicks", "S = 4, 0 / 1 / 3 / 5 clicks"]
    dice = "53.0 | 51.0 / 53.0 / 55.0 | 50.0 / 51.0 / 53.0 / 55.0"
    assert lines[0] == f'| `study --row "good"` | {dice} | 90 | 1.25 | 0.50 | 1200 |'
    assert lines[1].startswith('| `study --row "plain"` | 43.0 |')
