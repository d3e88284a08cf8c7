"""What benchmarks/results keeps is what the pages cite, and what they cite is there."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
FOLDERS = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())
PAGES = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "benchmarks").rglob("*.md") if RESULTS not in path.parents),
]
CITATION = re.compile(r"\bresults/([\w.-]+)((?:/[\w.-]+)*)")
MEASURED = re.compile(r"\d+\.\d+ ± \d+\.\d+|[+-]\d+\.\d+ \[[+-]\d+\.\d+, [+-]\d+\.\d+\]")
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def citations(page: Path) -> Iterator[tuple[str, str]]:
    """The folder and the path in it of everything that a page cites."""
    for found in CITATION.finditer(page.read_text(encoding="utf-8")):
        yield found[1].rstrip("."), found[2].rstrip(".")


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_is_cited_by_a_page(folder: str) -> None:
    assert any(cited == folder for page in PAGES for cited, _ in citations(page))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_path_that_a_page_cites_is_there(page: Path) -> None:
    missing = [folder + path for folder, path in citations(page) if not (RESULTS / (folder + path)).exists()]
    assert not missing


@pytest.mark.parametrize(
    "page", [*PAGES, RESULTS / "README.md"], ids=[*NAMES, "benchmarks/results/README.md"]
)
def test_every_file_and_heading_that_a_page_links_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if ":" in target:
            continue
        path, _, heading = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if heading:
            lines = linked if linked.is_file() else linked / "README.md"
            assert heading in headings(lines.read_text(encoding="utf-8")), target


def headings(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_spread_and_interval_of_a_page_stands_in_a_folder_that_it_cites(page: Path) -> None:
    cited = {folder for folder, _ in citations(page)} & set(FOLDERS)
    folders = cited or FOLDERS  # the README cites the whole
    kept = {
        measured
        for folder in folders
        for table in (RESULTS / folder).glob("*.md")
        for measured in MEASURED.findall(table.read_text(encoding="utf-8"))
    }
    assert not set(MEASURED.findall(page.read_text(encoding="utf-8"))) - kept


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_a_table_and_the_manifest_of_its_run(folder: str) -> None:
    assert (RESULTS / folder / "table.md").is_file()
    assert list((RESULTS / folder).glob("manifest*.json"))


def test_the_page_of_the_folders_has_a_row_for_each() -> None:
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[([\w.-]+)\]\(\1\) \|", text, re.MULTILINE) == FOLDERS


@pytest.mark.parametrize("table", sorted(RESULTS.glob("*/runs.csv")), ids=lambda path: path.parent.name)
def test_no_run_is_kept_twice(table: Path) -> None:
    with table.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    runs = [tuple(row[: header.index("seed") + 1]) for row in rows]
    assert len(set(runs)) == len(runs) > 0


def test_the_evidence_stays_small() -> None:
    size = sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file())
    assert size < 6_000_000
