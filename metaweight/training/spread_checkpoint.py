"""Checkpoints of a loop of one's own, which all processes write together.

torch.distributed.checkpoint holds the large tensors, by name, and gives each process what it needs of them,
however many wrote and however many read; what is small lies beside them, in a sealed file.
"""

from __future__ import annotations

import shutil
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from metaweight.core.atomic import whole_file
from metaweight.engines.inner import as_one, members
from metaweight.reweighter import Reweighter
from metaweight.student import Student
from metaweight.training import checkpoint
from metaweight.training.checkpoint import CheckpointError

LATEST, REST = "latest", "rest.pt"


def save_checkpoint(reweighter: Reweighter, folder: Path | str) -> None:
    """Write all that a run needs to go on into ``folder``: student, optimizers, teacher, generators.

    All processes call it, and see the same ``folder``.  What was kept there before is whole until the new
    checkpoint is, and is then removed.  The student may be in ``fully_shard``, in DistributedDataParallel or
    alone; whole parameters are never gathered.  Where the data are read on from is your loop's to keep.
    Raises WriteError where the folder cannot be written.
    """
    folder, student = Path(folder), reweighter.student
    processes = student.processes
    name = processes.from_first(lambda: _new_place(folder, reweighter.steps))
    states, (memory, teaching) = _of_optimizers(reweighter), _of_teacher(reweighter)
    tensors = {**_of_student(student), **states, **memory}
    with _quiet():
        save(tensors, process_group=processes.group, no_dist=processes.size == 1, checkpoint_id=folder / name)
    rest = {
        "groups": _groups(reweighter),
        "states": {place: value.dtype for place, value in states.items()},
        "plain": _plain_states(reweighter),
        "teaching": teaching,
        "random": checkpoint.random_state(student.device, processes),
    }
    processes.from_first(lambda: _conclude(folder, name, rest, _shapes(reweighter)))


def load_checkpoint(reweighter: Reweighter, folder: Path | str) -> None:
    """Go on from the checkpoint in ``folder``, with any number of processes and any way of sharding.

    ``reweighter``: built as the one that was saved.  With as many processes as before the generators are
    theirs; a process that is new keeps its own.  torch reads the list of its tensors by pickle: load what
    you trust.  Raises CheckpointError where there is none, where it is damaged or of another architecture.
    """
    folder, student = Path(folder), reweighter.student
    processes = student.processes
    if not (folder / LATEST).is_file():
        raise CheckpointError(f"no checkpoint in {folder}: did the run end before its first one?")
    place = folder / (folder / LATEST).read_text().strip()
    rest = checkpoint.load(place / REST, _shapes(reweighter))
    states = _like_saved(reweighter, rest["states"])
    memory, _ = _of_teacher(reweighter)
    try:
        with _quiet():
            load(
                {**_of_student(student), **states, **memory},
                process_group=processes.group,
                no_dist=processes.size == 1,
                checkpoint_id=place,
            )
    except (CheckpointException, RuntimeError, ValueError, OSError, EOFError) as error:
        raise CheckpointError(f"{place} is damaged or incomplete: {error}") from error
    if student.sharded is not None:
        student.sharded.reshard()
    _put_optimizers(reweighter, states, rest)
    loaded = {name.removeprefix("teacher."): value for name, value in memory.items()}
    teacher = {**rest["teaching"]["teacher"], **loaded}
    reweighter.load_teaching_state({**rest["teaching"], "teacher": teacher})
    checkpoint.restore_random_state(rest["random"], student.device, processes.rank)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warning that one process is alone, of which it was told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def _new_place(folder: Path, steps: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    latest = (folder / LATEST).read_text().strip() if (folder / LATEST).is_file() else None
    name = f"step-{steps}"
    if name == latest:
        name += "-again"
    shutil.rmtree(folder / name, ignore_errors=True)  # what a process that was killed has left
    return name


def _conclude(folder: Path, name: str, rest: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Write what is small, and only then say that the checkpoint is there."""
    checkpoint.save(folder / name / REST, rest, shapes)
    with whole_file(folder / LATEST) as file:
        file.write(name.encode())
    for place in folder.glob("step-*"):
        if place.name != name:
            shutil.rmtree(place)


def _of_student(student: Student) -> dict[str, Tensor]:
    if student.sharded is not None:
        student.sharded.reshard()
    return {f"student.{name}": value for name, value in student.module.state_dict().items()}


def _of_teacher(reweighter: Reweighter) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The teacher's tensors, of which processes may share some out, and the teaching state without them."""
    state = reweighter.teaching_state()
    tensors = {name: value for name, value in state["teacher"].items() if isinstance(value, Tensor)}
    rest = {name: value for name, value in state["teacher"].items() if name not in tensors}
    return {f"teacher.{name}": value for name, value in tensors.items()}, {**state, "teacher": rest}


def _held(reweighter: Reweighter) -> Iterator[tuple[Optimizer, str, Tensor]]:
    """Optimizer and name of each parameter that is held, with the parameter."""
    names = {id(p): name for name, p in reweighter.student.parameters().items()}
    for one in members(as_one(reweighter.optimizer)):
        for p in (p for group in one.param_groups for p in group["params"] if id(p) in names):
            yield one, names[id(p)], p


def _is_large(value: object, parameter: Tensor) -> bool:
    """Whether a part of an optimizer's state has its parameter's shape; the rest is small."""
    return isinstance(value, Tensor) and value.shape == parameter.shape


def _of_optimizers(reweighter: Reweighter) -> dict[str, Tensor]:
    """What is large in the optimizers' states."""
    return {
        f"state.{name}.{key}": value
        for one, name, p in _held(reweighter)
        for key, value in one.state.get(p, {}).items()
        if _is_large(value, p)
    }


def _plain_states(reweighter: Reweighter) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in one.state[p].items() if not _is_large(value, p)}
        for one, name, p in _held(reweighter)
        if one.state.get(p)
    }


def _groups(reweighter: Reweighter) -> list[dict[str, Any]]:
    """The options of each parameter group, through all optimizers."""
    return [
        {key: value for key, value in group.items() if key != "params"}
        for one in members(as_one(reweighter.optimizer))
        for group in one.param_groups
    ]


def _like_saved(reweighter: Reweighter, saved: Mapping[str, torch.dtype]) -> dict[str, Tensor]:
    """Room for each state that was ``saved``, of its type, laid out as its parameter is."""
    held = {name: p for _, name, p in _held(reweighter)}
    owners = {place: _owner(place)[0] for place in saved}
    return {
        place: torch.zeros_like(held[name], dtype=saved[place], requires_grad=False)
        for place, name in owners.items()
        if name in held
    }


def _owner(place: str) -> tuple[str, str]:
    """The parameter whose state is in a checkpoint under the name ``place``, and which state of it."""
    name, _, key = place.removeprefix("state.").rpartition(".")
    return name, key


def _put_optimizers(reweighter: Reweighter, states: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
    groups = iter(rest["groups"])
    for one in members(as_one(reweighter.optimizer)):
        for group in one.param_groups:
            group.update(next(groups))
        one.state.clear()
    large: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for place, value in states.items():
        name, key = _owner(place)
        large[name][key] = value
    for one, name, p in _held(reweighter):
        if name in rest["plain"]:
            one.state[p] = {**rest["plain"][name], **large[name]}


def _shapes(reweighter: Reweighter) -> dict[str, Any]:
    """What a checkpoint has to fit: the student's and the teacher's tensors, and the optimizers' groups."""
    return {
        **{name: list(value.shape) for name, value in _of_student(reweighter.student).items()},
        **checkpoint.shapes_of("teacher", reweighter.teacher.state_dict()),
        "optimizer.groups": [len(_groups(reweighter))],
    }
