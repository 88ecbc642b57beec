"""The page: complete, safe, equal from run to run, and read by a real browser."""

import base64
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.reports import Shown, gather, html

Change = Callable[[Callable[[dict], object]], Path]

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--enable-logging=stderr",
)  # fmt: skip


class Outline(HTMLParser):
    """Collects elements with their attributes, and checks that they are closed in order."""

    VOID = frozenset(("meta", "link", "image", "path", "br", "wbr"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(runs: Path, collection: Path) -> str:
    return html([runs], Shown(collection))


def test_page_is_well_formed_and_loads_nothing(page: str):
    outline = Outline(page)
    assert outline.open == []
    addresses = [attrs[name] or "" for _, attrs in outline.found for name in ("href", "src", "action") if name in attrs]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_links_lead_somewhere(page: str):
    outline = Outline(page)
    ids = [attrs["id"] for _, attrs in outline.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = {attrs[name] for _, attrs in outline.found for name in ("aria-labelledby",) if name in attrs}
    wanted |= {(attrs["href"] or "")[1:] for tag, attrs in outline.found if tag == "a"}
    assert wanted <= set(ids)


def test_page_tells_results_and_protocol(page: str, runs: Path):
    results = gather([runs])
    for name in results.ranking:
        value = results.main.summary["overall"][name]
        assert f"{100 * value['mean']:.1f} ({100 * value['low']:.1f}, {100 * value['high']:.1f})" in page
    for each in (*(here.plan_hash for here in results.sizes.values()), results.settings["collection_sha256"]):
        assert each in page
    subjects = results.main.summary["overall"][results.ranking[0]]["subjects"]
    assert f"2 predictors on 2 tasks of 2 datasets, {subjects} subjects, with 1 and 3 labelled examples per" in page
    assert page.count('<th scope="col">Subjects</th>') == 3  # by size, by task, by subgroup
    assert page.count('<svg class="chart"') == 2
    assert page.count('<figure class="example">') == 2 * 3


def test_every_picture_and_column_is_described(page: str):
    outline = Outline(page)
    assert all(attrs.get("aria-label") for tag, attrs in outline.found if tag == "svg")
    assert all(attrs.get("scope") for tag, attrs in outline.found if tag == "th")


def test_page_is_the_same_every_time(page: str, runs: Path, collection: Path):
    assert html([runs], Shown(collection)) == page


def test_only_its_own_script_may_run(page: str):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_without_a_collection_it_says_that_pictures_are_missing(runs: Path):
    page = html([runs / "S3"])
    assert "as no collection was given" in page
    assert '<figure class="example">' not in page
    assert page.count('<svg class="chart"') == 1


def test_failures_are_named_and_markup_is_only_text(change: Change):
    def fail(summary: dict) -> None:
        task = "squares/drawing/2d/square"
        summary["tasks"][task]["mean-mask"] = {"mean": float("nan"), "low": float("nan"), "high": float("nan")}
        summary["failed"] = {"mean-mask": {task: "<script>alert(1)</script>"}}
        summary["skipped"] = {"tiny/mr/2d/dot": "needs 2 labelled subjects, has 1"}

    page = html([change(fail)])
    assert "mean-mask on squares/drawing/2d/square: &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "tiny/mr/2d/dot: needs 2 labelled subjects, has 1" in page
    assert page.count("<script>") == 1
    assert Outline(page).open == []


def test_annotators_and_what_is_known_of_subjects_have_tables(change: Change):
    def compare(summary: dict) -> None:
        values = {"mean-mask": {"mean": 0.25, "low": 0.125, "high": 0.5}}
        summary["annotators"] = {"energy_distance": {"squares": values}}

    known = {("squares", f"case{case}"): "odd" if case % 2 else "even" for case in range(5)}
    page = html([change(compare)], attributes={"parity": known})
    assert '<td data-value="0.25">0.25 (0.125, 0.5)</td>' in page
    assert "By parity: Dice" in page
    assert '<th scope="row">odd</th>' in page
    assert Outline(page).open == []


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on the PATH")
def test_a_browser_reads_it_without_complaint(page: str, tmp_path: Path):
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", "report.html"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, encoding="utf-8", timeout=600)
    assert "CONSOLE" not in done.stderr
    leaderboard = done.stdout[done.stdout.index('id="leaderboard"') : done.stdout.index('id="figures"')]
    assert re.search(r'<th scope="row">.*nearest-copy</th>', leaderboard)
    assert leaderboard.count('<button type="button">') == leaderboard.count('<th scope="col"')  # the script has run


def report(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_command_writes_the_page_or_prints_tables(runs: Path, tmp_path: Path):
    code, output, _ = report(runs, "--out", tmp_path / "page.html")
    assert (code, output) == (0, f"{tmp_path / 'page.html'}\n")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == html([runs])
    code, output, _ = report(runs, "--format", "csv")
    assert code == 0
    assert output.startswith("support_size,level,name,predictor,dice,low,high,subjects,false_alarms\n")


def test_command_without_a_run_ends_in_one_line(tmp_path: Path):
    code, _, errors = report(tmp_path)
    assert code == 1
    assert errors.startswith(f"Error: {tmp_path} holds no run")
    assert errors.count("\n") == 1
