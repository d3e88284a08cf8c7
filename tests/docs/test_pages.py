"""The documentation does what it says: blocks run, figures are drawn from kept tables."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docs_parts import DOCS, HOME, evidence_pages, figure, pages
from run_page import RUN, SHOWN, blocks
from warm import ask, warm

ENVIRONMENT = {
    "PYTHONPATH": str(HOME),
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "HF_HUB_OFFLINE": "1",
    "COLUMNS": "100",
    "NO_COLOR": "1",
}
LIBRARIES = ("transformers", "lightning")
"""What a page needs where its code names it."""


QUICK = {"explanation/meta-gradient.md"}
"""Pages that are run with all other tests; `make test-docs` runs every one."""


def run_pages() -> Iterator[Any]:
    """Those with blocks that run; what takes more than a few seconds is marked ``slow``."""
    for page in pages():
        name = str(page.relative_to(DOCS))
        if any(block.runs for block in blocks(page.read_text(encoding="utf-8"))):
            yield pytest.param(page, id=name, marks=() if name in QUICK else pytest.mark.slow)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with warm(tmp_path_factory.mktemp("warm")) as found:
        yield found


@pytest.mark.parametrize("page", [*run_pages()])
def test_every_block_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    found = list(blocks(page.read_text(encoding="utf-8")))
    for library in LIBRARIES:
        if library in "".join(block.code for block in found if block.runs):
            pytest.importorskip(library)
    place, commands = request.getfixturevalue("server")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "PATH", os.pathsep.join((str(commands), sysconfig.get_path("scripts"), os.environ["PATH"]))
    )
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CI", raising=False)
    with Path("said").open("w+b") as said, Path(os.devnull).open() as nothing:
        code = ask(place, {"page": str(page)}, (nothing.fileno(), said.fileno(), said.fileno()))
        assert code == 0, Path("said").read_text(errors="replace")[-6000:]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_blocks_are_run_or_shown_and_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    unknown = {block.language for block in blocks(text)} - RUN - SHOWN
    assert not unknown, f"blocks of {unknown} are neither run nor shown"
    shown = {place.resolve() for place in evidence_pages().values()}
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        if re.match(r"[a-z]+:|#", target):
            continue
        goal = (page.parent / target.partition("#")[0]).resolve()
        made = DOCS / "reference" / "made" in goal.parents or goal in shown
        assert made or goal == DOCS / "evidence" / "index.md" or goal.is_file(), target


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_every_figure_is_drawn_from_a_kept_table(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for wanted in re.findall(r"\{kept\}`([^`]*)`", text):
        assert figure(wanted)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert not [row for row in rows if re.search(r"\{kept\}`[^`]*[^`\\]\|", row)], r"write \| in tables"
    assert not re.search(r"^%", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M), (
        "% begins a comment"
    )


MEASURED = re.compile(r"\d+(\.\d+)? ?(%|points?\b|BLEU|plain steps?\b|times as\b)|[+±]\d")
"""What looks like a figure that somebody measured."""
HELD_ELSEWHERE = {"scaling.md"}
"""Its figures are computed, and tests/benchmarks/test_scaling.py holds them."""


@pytest.mark.parametrize(
    "page",
    [p for p in pages() if p.parent.name == "explanation" and p.name not in HELD_ELSEWHERE],
    ids=lambda page: page.name,
)
def test_no_measured_figure_is_typed(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    typed = [line.strip() for line in text.splitlines() if MEASURED.search(line)]
    assert not typed, f"figures are drawn by {{kept}}, or said in words: {typed}"
