"""Data sets on their way through a Trainer that tokenizes, drops and shuffles rows itself, as TRL's do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaweight.integrations.huggingface.rows import ROW
from metaweight.integrations.trusted import with_positions

TRUSTED = "trusted"
GIVEN = "given"


def before(arguments: Mapping[str, Any], trusted: Any) -> dict[str, Any]:
    """A Trainer's arguments by name, its rows numbered and ``trusted`` beside what it evaluates on.

    Raises TypeError where the training rows are not among them, or are no data set of Hugging Face's.
    """
    rows = with_positions(arguments.get("train_dataset"), "training")
    if not hasattr(rows, "add_column"):
        raise TypeError(f"this Trainer takes datasets.Dataset, got {type(rows).__name__}")
    numbered = {**arguments, "train_dataset": rows.add_column(ROW, list(range(len(rows))))}
    if trusted is not None:
        evaluated = arguments.get("eval_dataset")
        known = evaluated if isinstance(evaluated, Mapping) else {GIVEN: evaluated}
        several = {name: one for name, one in known.items() if one is not None}
        numbered["eval_dataset"] = {**several, TRUSTED: trusted}
    return numbered


def after(train: Any, evaluated: Any, given: Any) -> tuple[Any, Any]:
    """The prepared trusted rows, and what is evaluated on in the form that was ``given``.

    Raises ValueError where the rows have lost their numbers.
    """
    if ROW not in (train.column_names or ()):
        raise ValueError(
            "this Trainer packs several rows into one, and none has a loss of its own then: give "
            "packing=False"
        )
    rest = dict(evaluated)
    trusted = rest.pop(TRUSTED)
    return trusted, rest if isinstance(given, Mapping) else rest.get(GIVEN)
