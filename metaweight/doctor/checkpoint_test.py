"""A run that is saved, read into another one and goes on, bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.randomness import forked_rng
from metaweight.reweighter import Reweighter
from metaweight.teachers import build_teacher
from metaweight.testing.problems import problem
from metaweight.training import checkpoint
from metaweight.training.checkpoint import CheckpointError

CPU = torch.device("cpu")


def checkpoint_test() -> str:
    """What was compared.  Raises CheckpointError where something comes back as another, and where a file of
    which a byte was changed is read."""
    with forked_rng(CPU), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        run = _run()
        _go_on(run)
        checkpoint.save(path, _state(run), _shapes(run))
        saved = dict(_tensors(_state(run)))
        saved = {name: value.clone() for name, value in saved.items()}
        _go_on(run)

        other = _run()
        state = checkpoint.load(path, _shapes(other))
        other.load_state_dict(state["reweighter"])
        checkpoint.restore_random_state(state["random"], CPU)
        _require_same("after it was loaded", saved, dict(_tensors(_state(other))))
        _go_on(other)
        _require_same("after two more steps", dict(_tensors(_state(run))), dict(_tensors(_state(other))))

        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        try:
            checkpoint.load(path, _shapes(other))
        except CheckpointError:
            return f"{len(saved)} tensors come back bit for bit, and a changed byte is noticed"
        raise CheckpointError("a checkpoint with a changed byte is read as if it were whole")


def _run() -> Reweighter:
    """With dropout, momentum and a teacher that learns."""
    steps = problem("dropout")
    spec = steps.student.spec(steps.train[0], samples=1000)
    return Reweighter(steps.student, build_teacher("mw-net", spec=spec), optimizer=steps.optimizer)


def _go_on(run: Reweighter) -> None:
    steps = problem("dropout")
    for _ in range(2):
        run.step(steps.train[0], steps.meta)


def _state(run: Reweighter) -> dict[str, Any]:
    return {"reweighter": run.state_dict(), "random": checkpoint.random_state(CPU)}


def _shapes(run: Reweighter) -> dict[str, Any]:
    return checkpoint.shapes_of("student", run.student.module.state_dict())


def _tensors(value: Any, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """All tensors in a state, by where they stand."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _tensors(item, f"{name}.{place}")


def _require_same(when: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    names = [*ours, *(name for name in theirs if name not in ours)]
    others = [n for n in names if n not in ours or n not in theirs or not torch.equal(ours[n], theirs[n])]
    if others:
        raise CheckpointError(f"{when} these are others than they were: {', '.join(others)}")
