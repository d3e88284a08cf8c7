"""What SECURITY.md says: files that are read run no code, but for those that it names."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metaweight.tasks.rating import RATER
from metaweight.training import checkpoint
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
NEVER = {"eval", "exec", "compile", "pickle.load", "pickle.loads", "torch.hub.load", "os.system"}
OF_OWN_WORKERS = ("metaweight/core/jobs.py", "pickle.loads")
"""In a worker, of bytes that the process which began it has made: of no file."""
MAY_IMPORT = {"metaweight/core/plugins.py", "metaweight/doctor/higher_source.py"}
"""Where modules that a user names are imported, and where those of ``higher`` are looked at."""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, by its dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@functools.cache
def all_calls() -> list[tuple[str, str, ast.Call]]:
    return [
        (path.relative_to(ROOT).as_posix(), name, call)
        for path in sorted((ROOT / "metaweight").rglob("*.py"))
        for name, call in calls(path)
    ]


def keywords(call: ast.Call) -> dict[str | None, str]:
    return {word.arg: ast.unparse(word.value) for word in call.keywords}


def test_nothing_that_runs_code_of_a_file_is_called() -> None:
    found = [(where, name) for where, name, _ in all_calls() if name in NEVER]
    assert found == [OF_OWN_WORKERS]
    words = [(where, keywords(call)) for where, _, call in all_calls()]
    forbidden = {"trust_remote_code": {"True"}, "allow_pickle": {"True"}, "shell": {"True"}}
    assert [
        where for where, given in words for word, values in forbidden.items() if given.get(word) in values
    ] == []


def test_torch_loads_weights_alone() -> None:
    loads = [(where, keywords(call)) for where, name, call in all_calls() if name == "torch.load"]
    assert {where for where, _ in loads} == {"metaweight/training/checkpoint.py"}
    assert {given["weights_only"] for _, given in loads} == {"True"}


def test_modules_are_imported_by_name_in_one_place() -> None:
    places = {
        where
        for where, name, _ in all_calls()
        if name.endswith(("import_module", "exec_module")) and not name.startswith("self.")
    }
    assert places == MAY_IMPORT


class Trap:
    """Unpickled it writes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.file, "it ran"))


@pytest.mark.parametrize("name", ["checkpoint.pt", RATER])
def test_a_checkpoint_that_would_run_code_is_refused_and_does_not(name: str, tmp_path: Path) -> None:
    file, trace = tmp_path / name, tmp_path / "trace"
    torch.save({"format": 1, "shapes": {}, "state": Trap(trace)}, file)
    torch.load(file, weights_only=False)
    assert trace.read_text() == "it ran"  # so the trap works
    trace.unlink()
    with pytest.raises(CheckpointError, match="truncated or no checkpoint"):
        checkpoint.load(file, {}, part="none")
    assert not trace.exists()


def test_weights_that_would_run_code_are_refused_and_do_not(tmp_path: Path) -> None:
    folder, trace = RunFolder.create(tmp_path / "run", {}), tmp_path / "trace"
    trap = np.empty(1, dtype=object)
    trap[0] = Trap(trace)
    np.savez(folder.path / "weights.npz", index=trap, weights=trap, loss=trap)
    with pytest.raises(ValueError, match=r"weights\.npz is damaged"):
        folder.read_weights()
    assert not trace.exists()


def test_every_test_that_the_page_names_is_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) >= 6
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file, _ in named}
    assert [(file, name) for file, name in named if f"def {name}(" not in sources[file]] == []
