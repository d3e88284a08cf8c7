"""A teacher that outlives its run: what lasts of it, and the same teacher for rows that it never met."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metaweight.core.contracts import MetaweightError, StateSpec, StudentState
from metaweight.core.processes import ALONE
from metaweight.core.randomness import forked_rng
from metaweight.teachers.base import Recipe, Teacher, build_teacher, mean_one, registry
from metaweight.teachers.inputs import unit_loss
from metaweight.teachers.per_sample import PerSample

INSTEAD = "take evidence, memory, jury or surface as the teacher of a run that is to rate later rows"


def require_rating(name: str) -> None:
    """Raise ValueError, with what to take instead, where the teacher ``name`` has no weight for new rows."""
    if why := registry[name].unrated:
        raise ValueError(f"teacher {name!r} cannot rate rows that it was not trained on: {why}; {INSTEAD}")


def lasting_state(teacher: Teacher) -> dict[str, Tensor]:
    """Its parameters and buffers, but for the tables with a row a sample (``PerSample``)."""
    state: dict[str, Tensor] = {}
    for name, part in teacher.named_modules():
        if not isinstance(part, PerSample):  # state_dict() itself would gather tables that are shared out
            part._save_to_state_dict(state, f"{name}." if name else "", False)
    return {name: value.detach().clone() for name, value in state.items() if isinstance(value, Tensor)}


def rating_teacher(recipe: Recipe, state: Mapping[str, Tensor], samples: int) -> Teacher:
    """The teacher of ``recipe`` with its ``lasting_state``, for ``samples`` rows that it never met.

    Its tables with a row a sample are new: each row is remembered as one that was never visited, so none
    reads what is remembered of another.  It gives weights before they are normalised.  Raises MetaweightError
    for a teacher that keeps something of every sample elsewhere, ValueError as ``require_rating``.
    """
    require_rating(recipe.name)
    # another number than in training: what is kept of every sample cannot pass for something else
    rows = samples + (samples == recipe.spec.samples)
    spec = replace(
        recipe.spec,
        samples=None if recipe.spec.samples is None else rows,
        meta_in_train=False,  # indices of new rows are nobody's of the run
        processes=ALONE,
    )
    options = {**recipe.options, **({"normalize": "none"} if _normalised(recipe) else {})}
    with forked_rng(spec.device):
        teacher = build_teacher(recipe.name, spec, **options)
    kept, own = lasting_state(teacher), dict(state)
    wrong = [name for name in {*kept, *own} if _shape(kept.get(name)) != _shape(own.get(name))]
    if wrong:
        raise MetaweightError(
            f"teacher {recipe.name!r} keeps {min(wrong)!r} of every training sample, or is another "
            "version's: what it remembers of samples belongs into metaweight.teachers.PerSample"
        )
    teacher.load_state_dict(own, strict=False)
    return teacher.eval()


def rate(
    recipe: Recipe,
    state: Mapping[str, Tensor],
    samples: int,
    states: Callable[[], Iterable[StudentState]],
) -> tuple[Tensor, Tensor]:
    """Index [U] and weights [U] of all units of ``samples`` rows, in the order in which ``states()`` gives
    them.

    ``states``: called twice, gives the same detached states each time; a state's index counts the rows from
    0.  How units are cut into states does not matter: ranks are taken among all of them (``among``), and a
    teacher that normalises its weights within a batch has them normalised to mean 1 over all.
    """
    teacher = rating_teacher(recipe, state, samples)
    with torch.no_grad():
        among = torch.cat([unit_loss(part) for part in states()])
        parts = [(part.index, teacher(replace(part, among=among))) for part in states()]
    index, weights = map(torch.cat, zip(*parts, strict=True))
    return index, mean_one(weights) if _normalised(recipe) else weights


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON holds it, without device and processes."""
    spec = recipe.spec
    plain = {
        name: value for name, value in vars(spec).items() if name not in ("dtype", "device", "processes")
    }
    plain |= {"features": dict(spec.features), "dtype": str(spec.dtype).removeprefix("torch.")}
    return {"name": recipe.name, "spec": plain, "options": dict(recipe.options)}


def recipe_of(record: Mapping[str, Any], device: torch.device) -> Recipe:
    """What ``recipe_record`` gave, on ``device``."""
    plain = dict(record["spec"])
    counts = plain["class_counts"]
    spec = StateSpec(
        **{
            **plain,
            "dtype": getattr(torch, plain["dtype"]),
            "device": device,
            "class_counts": None if counts is None else tuple(counts),
            "source_taps": tuple(plain["source_taps"]),
        }
    )
    return Recipe(record["name"], spec, dict(record["options"]))


def _normalised(recipe: Recipe) -> bool:
    return recipe.options.get("normalize") == "batch"


def _shape(value: object) -> object:
    return tuple(value.shape) if isinstance(value, Tensor) else None
