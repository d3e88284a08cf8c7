"""The pages for developers name files and functions that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted((ROOT / "docs" / "develop").glob("*.md")), ROOT / "CONTRIBUTING.md"]
NAMED = re.compile(r"`((?:metaweight|tests|tools|benchmarks)/[\w/]+\.py)(?::([\w.]+))?`")


def defines(source: str, name: str) -> bool:
    """Whether a file defines a class, a function or a constant of this name."""
    return bool(re.search(rf"^\s*(?:def|class) {name}\b|^{name}\b.*=", source, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_and_functions_that_a_page_names_are_there(page: Path) -> None:
    missing = []
    for file, names in NAMED.findall(page.read_text(encoding="utf-8")):
        if not (ROOT / file).is_file():
            missing.append(file)
            continue
        source = (ROOT / file).read_text(encoding="utf-8")
        missing += [f"{file}:{name}" for name in filter(None, names.split(".")) if not defines(source, name)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_targets_of_make_and_links_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)", text))
    assert [target for target in sorted(targets) if f"\n{target}:" not in makefile] == []
    links = re.findall(r"\]\((?!https?:|#|\.\./evidence/)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_map_has_every_room_in_the_order_of_the_layers() -> None:
    rooms = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/develop/map.md").read_text(), re.MULTILINE)
    folders = {path.parent.name for path in (ROOT / "metaweight").glob("*/__init__.py")}
    assert set(rooms) == folders
    (layers,) = re.findall(r"^layers =\n((?:    .*\n)+)", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    floors = [re.split(r"\s*\|\s*", line.strip()) for line in layers.splitlines()]
    height = {room: number for number, floor in enumerate(floors) for room in floor}
    assert [height[room] for room in rooms] == sorted(height[room] for room in rooms)


def test_the_index_lists_every_page() -> None:
    text = (ROOT / "docs/develop/index.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"```\{toctree\}\n:maxdepth: 1\n\n(.*?)```", text, re.DOTALL)
    assert {*tree.split(), "index"} == {path.stem for path in (ROOT / "docs/develop").glob("*.md")}


def test_formats_of_the_page_are_those_of_the_code() -> None:
    from metaweight.training import checkpoint, run_folder

    text = (ROOT / "docs/develop/release.md").read_text(encoding="utf-8")
    assert f"key `folder_format` | {run_folder.FORMAT} |" in text
    assert f"| `checkpoint.pt` | {checkpoint.FORMAT} |" in text
    assert f"| `rater.pt` | {checkpoint.FORMAT}, " in text
