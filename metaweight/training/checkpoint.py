"""Save and load everything a run needs to go on, atomically."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.atomic import whole_file
from metaweight.core.contracts import MetaweightError
from metaweight.core.randomness import RandomState

FORMAT = 1


class CheckpointError(MetaweightError):
    """A checkpoint cannot be used: the message says why and what to do."""


def save(path: Path | str, state: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) so that ``path`` is whole or unchanged.

    ``shapes``: what ``state`` fits, name -> shape or text; checked when it is loaded.
    """
    with whole_file(Path(path)) as file:
        torch.save({"format": FORMAT, "shapes": dict(shapes), "state": dict(state)}, file)


def load(path: Path | str, shapes: Mapping[str, Any], *, part: str | None = None) -> dict[str, Any]:
    """Read a checkpoint that fits ``shapes``; with ``part``, those of this prefix only.  Loads no code.

    Raises CheckpointError where the file is absent, truncated, of a newer format or of another
    architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: did the run end before its first one?")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        RuntimeError,
        EOFError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        ValueError,
        IndexError,
    ) as error:
        raise CheckpointError(f"{path} is truncated or no checkpoint: start the run anew") from error
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path} is no metaweight checkpoint")
    if content["format"] > FORMAT:
        raise CheckpointError(
            f"{path} has format {content['format']}, this version reads up to {FORMAT}: upgrade metaweight"
        )
    stored = content["shapes"]
    if part is not None:
        stored = {name: shape for name, shape in stored.items() if name.startswith(f"{part}.")}
    _require_same(path, stored, dict(shapes))
    state: dict[str, Any] = content["state"]
    return state


def shapes_of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Name -> shape of a module's state, for ``save`` and ``load``."""
    return {f"{prefix}.{name}": list(value.shape) for name, value in tensors.items()}


def _require_same(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in [*wanted, *(n for n in stored if n not in wanted)]:
        if stored.get(name) != wanted.get(name):
            raise CheckpointError(
                f"{path} is of another architecture: {name} is {stored.get(name, 'absent')} there and "
                f"{wanted.get(name, 'absent')} in this run; build the run as it was started"
            )


def random_state(device: torch.device) -> dict[str, Any]:
    """The global generators as plain tensors."""
    state = RandomState.of(device)
    return {"cpu": state.cpu, "cuda": state.cuda}


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Put the global generators back."""
    replace(RandomState.of(device), cpu=state["cpu"], cuda=state["cuda"]).restore(device)
