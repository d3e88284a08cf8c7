"""What no linter says of a file: it is short, and its name is a noun.  Imports are `make check`'s to hold."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 300
NAMELESS = {"utils", "helpers", "common", "util", "helper", "misc"}


def python_files() -> dict[str, Path]:
    """Path from the root -> file, of package and benchmarks."""
    found = [path for folder in ("metaweight", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path for path in found}


def test_files_are_short_and_named_by_a_noun() -> None:
    files = python_files()
    assert {"metaweight/core/contracts.py", "metaweight/engines/forward.py"} <= files.keys()
    lengths = {name: len(path.read_text().splitlines()) for name, path in files.items()}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}, "split by noun"
    assert [name for name, path in files.items() if path.stem in NAMELESS] == []


def test_nothing_stands_loose_beside_the_front_door() -> None:
    names = {path.name for path in (ROOT / "metaweight").glob("*.py")}
    assert names == {"__init__.py", "__main__.py"}
