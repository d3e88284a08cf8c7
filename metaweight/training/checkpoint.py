"""Save and load everything a run needs to go on, atomically."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metaweight.core.atomic import whole_file
from metaweight.core.contracts import MetaweightError
from metaweight.core.processes import ALONE, Processes
from metaweight.core.randomness import RandomState
from metaweight.core.seal import SealedFile, seal_fits
from metaweight.core.shards import is_sharded, put_from_first, whole_in_first
from metaweight.reweighter import Reweighter

if TYPE_CHECKING:
    from metaweight.training.callbacks import Callback

FORMAT = 3
"""Of checkpoint.pt, rater.pt, rest.pt, metaweight.pt.  Those of format 1 have no seal; before 3 a run's had
the weights of all epochs."""


_WAY = "put a copy of it back, or delete it, and the run starts over"
RUN = "run"
"""Among the shapes: what run the state is of."""


class CheckpointError(MetaweightError):
    """A checkpoint cannot be used: the message says why and what to do."""


def save(
    path: Path | str, state: Mapping[str, Any], shapes: Mapping[str, Any], *, durable: bool = True
) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) so that ``path`` is whole or unchanged.

    ``shapes``: what ``state`` fits, name -> shape or text; checked when it is loaded.  ``durable``: see
    ``whole_file``.
    """
    with whole_file(Path(path), durable=durable) as file:
        sealed = SealedFile(file)
        try:
            torch.save({"format": FORMAT, "shapes": dict(shapes), "state": dict(state)}, sealed)  # type: ignore[arg-type]
        except RuntimeError:
            if sealed.failure is not None:  # torch ends its archive all the same, and fails at that
                raise sealed.failure from None
            raise
        sealed.close()


def load(path: Path | str, shapes: Mapping[str, Any], *, part: str | None = None) -> dict[str, Any]:
    """Read a checkpoint that fits ``shapes``; with ``part``, those of this prefix only.  Loads no code.

    Raises CheckpointError where the file is absent, changed in any byte, of a newer format, of another
    architecture or of another run.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: did the run end before its first one?")
    sealed = seal_fits(path)
    if sealed is False:
        raise CheckpointError(f"{path} is damaged: it is not as it was written; {_WAY}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file raises is anything
        raise CheckpointError(f"{path} is truncated or no checkpoint; {_WAY}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path} is no metaweight checkpoint")
    require_readable(str(path), content["format"])
    if content["format"] > 1 and sealed is None:
        raise CheckpointError(f"{path} is truncated: its end is missing; {_WAY}")
    stored = content["shapes"]
    if part is not None:
        stored = {name: shape for name, shape in stored.items() if name.startswith(f"{part}.")}
    _require_same(path, stored, dict(shapes))
    state: dict[str, Any] = content["state"]
    return state


def format_of(path: Path) -> int | None:
    """The format that a checkpoint was written in, its tensors unread; None for what is none."""
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # as in ``load``
        return None
    found = content.get("format") if isinstance(content, dict) else None
    return found if isinstance(found, int) else None


def require_readable(what: str, number: int) -> None:
    """Raise CheckpointError where ``what`` was written in a newer format than this version reads."""
    if number > FORMAT:
        raise CheckpointError(
            f"{what} has format {number}, this version reads up to {FORMAT}: upgrade metaweight"
        )


def shapes_of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Name -> shape of a module's state, for ``save`` and ``load``."""
    return {f"{prefix}.{name}": list(value.shape) for name, value in tensors.items()}


def _require_same(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in [*wanted, *(n for n in stored if n not in wanted)]:
        if stored.get(name) == wanted.get(name):
            continue
        if name == RUN:  # said by both: a Trainer without a run's folder takes any that fits
            if name not in stored or name not in wanted:
                continue
            raise CheckpointError(f"{path} is the checkpoint of another run; {_WAY}")
        raise CheckpointError(
            f"{path} is of another architecture: {name} is {stored.get(name, 'absent')} there and "
            f"{wanted.get(name, 'absent')} in this run; build the run as it was started"
        )


def whole_tables(reweighter: Reweighter) -> dict[str, Any]:
    """``state_dict()`` of a Reweighter whose teacher's tables, where processes share them out, are whole in
    the first process, on its CPU; the others have none of their rows.  All processes call it."""
    state = reweighter.state_dict()
    teacher = {n: whole_in_first(v) if is_sharded(v) else v for n, v in state["teacher"].items()}
    return {**state, "teacher": teacher}


def handed_out(
    read: Callable[[], dict[str, Any]], reweighter: Reweighter, callbacks: Sequence[Callback]
) -> dict[str, Any]:
    """What ``read`` gives in the first process, a Trainer's state, in all.

    Of the tables that the teacher shares out each takes its own rows, at once; these are in what is returned.
    What the first process alone keeps of ``callbacks`` is not sent.
    """
    tables: dict[str, Any] = {n: v for n, v in reweighter.teacher.state_dict().items() if is_sharded(v)}
    whole: dict[str, Tensor] = {}
    kept: list[dict[str, Any]] = []

    def rest() -> dict[str, Any]:
        state = read()
        teacher = state["reweighter"]["teacher"]
        whole.update({name: teacher.pop(name) for name in tables})
        kept.extend(state["callbacks"])
        parts = zip(callbacks, kept, strict=True)
        return {**state, "callbacks": [{} if callback.kept_once else part for callback, part in parts]}

    state = reweighter.student.processes.from_first(rest)
    for name, table in tables.items():
        put_from_first(table, whole.pop(name, None))
    state["reweighter"]["teacher"] |= tables
    return {**state, "callbacks": kept or state["callbacks"]}


def take_up(callbacks: Sequence[Callback], parts: Sequence[Any], processes: Processes) -> None:
    """Give each callback its part; what the first process refuses of one that it keeps alone, all refuse."""
    for callback, part in zip(callbacks, parts, strict=True):
        load = partial(callback.load_state_dict, part)
        if callback.kept_once:
            processes.from_first(load)
        if not callback.kept_once or processes.rank > 0:
            load()


def random_state(device: torch.device, processes: Processes = ALONE) -> dict[str, Any]:
    """The global generators as plain tensors; ``others``: those of all processes but the first, by rank."""
    state = RandomState.of(device)
    first, *others = processes.of_all({"cpu": state.cpu, "cuda": state.cuda})
    return {**first, "others": others} if others else first


def restore_random_state(state: Mapping[str, Any], device: torch.device, rank: int = 0) -> None:
    """Put the global generators back; that of a GPU where the run goes on with one.

    Where there are more processes now than there were, a new one's stay as they are.
    """
    known = [state, *state.get("others", ())]
    if rank < len(known):
        own = known[rank]
        cuda = own["cuda"] if device.type == "cuda" else None
        replace(RandomState.of(device), cpu=own["cpu"], cuda=cuda).restore(device)


def kept(folder: Path) -> str:
    """What a run that ended early has left to go on from, in a sentence."""
    newest = max(folder.rglob("checkpoint.pt"), key=lambda path: path.stat().st_mtime_ns, default=None)
    if newest is None:
        return "no checkpoint was written yet, so the run starts over"
    try:
        epochs, batches = load(newest, {}, part="none")["position"]
    except CheckpointError as error:
        return str(error)
    where = f"after batch {batches} of epoch {epochs + 1}" if batches else f"of epoch {epochs}"
    return f"the last checkpoint, {where}, is whole"
