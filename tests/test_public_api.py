"""The public API is that of tests/public_api.txt: what users lose, they lose on purpose and are told."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

import griffe

import metaweight as mw
from tools import public_api

WHAT_TO_DO = """the public API is another than tests/public_api.txt says:

{diff}
Not meant? Undo it.  Meant? (1) `make api` writes the file anew; commit it.  (2) Say it in CHANGELOG.md, under
[Unreleased].  (3) A line with - that has no equal with + breaks somebody's code: keep the old spelling
working, with a FutureWarning that names the new one, as docs/develop/release.md says."""
SOURCE = """
from ._hidden import Base, far as near
__all__ = ["LIMIT", "Mine", "again", "call", "near", "strict"]
LIMIT = 3
def call(a, /, b, *rest, c=2, d, **more): ...
def strict(a, b, /): ...
def unlisted(): ...
again = call
class Mine(Base):
    size: int = 4
    def __init__(self, a, *, b=None): self.seen = a
    def __len__(self): ...
    def _own(self): ...
    @property
    def whole(self): ...
    @staticmethod
    def made(x): ...
    @classmethod
    def of(cls, *, y=()): ...
"""
HIDDEN = """
def far(x, *, y="a"): ...
class Base:
    def taken(self, where): ...
"""


def listed() -> str:
    """What a new Python lists: parts that other tests have registered here are none of it."""
    environment = {name: value for name, value in os.environ.items() if name != "METAWEIGHT_IMPORT"}
    command = [sys.executable, "-m", "tools.public_api", "--print"]
    done = subprocess.run(
        command, cwd=public_api.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_api_is_as_listed() -> None:
    kept, now = public_api.LIST.read_text(encoding="utf-8"), listed()
    diff = "\n".join(
        difflib.unified_diff(kept.splitlines(), now.splitlines(), "listed", "now", n=0, lineterm="")
    )
    assert not diff, WHAT_TO_DO.format(diff=diff)


def test_every_public_name_is_listed() -> None:
    lines = public_api.LIST.read_text(encoding="utf-8").splitlines()
    heads = {line.partition("(")[0].partition(" = ")[0] for line in lines if line.startswith("metaweight.")}
    names = {f"metaweight.{name}" for name in dir(mw)}
    assert names - heads == names & public_api.MODULES.keys()
    assert {f"teacher {name}" for name in mw.teachers.names()} < {line.partition("(")[0] for line in lines}
    assert len(lines) == len(set(lines))


def test_lines_are_names_kinds_and_defaults(tmp_path: Path) -> None:
    place = tmp_path / "thing"
    place.mkdir()
    (place / "__init__.py").write_text(SOURCE)
    (place / "_hidden.py").write_text(HIDDEN)
    package = griffe.load("thing", search_paths=[tmp_path], resolve_aliases=True)
    seen: dict[str, str] = {}
    lines = [
        line
        for name in public_api.public_names(package)
        for line in public_api.object_lines(f"thing.{name}", package[name], seen)
    ]
    assert lines == [
        "thing.LIMIT",
        "thing.Mine(a, *, b=None)",
        "thing.Mine.__len__()",
        "thing.Mine.made(x)",
        "thing.Mine.of(*, y=())",
        "thing.Mine.seen",
        "thing.Mine.size",
        "thing.Mine.taken(where)",
        "thing.Mine.whole",
        "thing.again",
        "thing.call(a, /, b, *rest, c=2, d, **more)",
        "thing.near(x, *, y='a')",
        "thing.strict(a, b, /)",
    ]
