"""What a name stands for in a comparison: a teacher, a remedy, or a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from metaweight.core.registry import Registry, did_you_mean
from metaweight.remedies import NONE, remedies
from metaweight.student.losses import losses
from metaweight.tasks.config import RunConfig
from metaweight.teachers.base import registry as teachers

Group = Literal["plain", "internal", "surface", "remedy", "bound", "other"]
"""What an arm is: plain training, a teacher that sees internal states, one that sees the surface (or the
loss alone, or the gradient), a simple remedy (without learning), an upper bound that uses the truth and is
compared with nothing, or a teacher that does not say what it sees."""
PLAIN = "uniform"
"""The teacher of an arm that has none."""
KINDS: Mapping[str, Registry[Any]] = {"teacher": teachers, "remedy": remedies, "loss": losses}
"""Option of a run -> the names that it takes; an arm of such a name is a run with that option."""
BASE: Mapping[str, str] = {"teacher": PLAIN, "remedy": NONE, "loss": "cross-entropy"}
"""The same options of plain training."""


def arm_options(arm: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an arm's runs that differ from every run's: what its name says, then its ``own``.

    An arm may have any name where one of teacher, remedy and loss is among its own options.  What names no
    teacher has the plain one.  Raises KeyError for any other name that no registry has, with the nearest one.
    """
    for option, registry in KINDS.items():
        if arm in registry:
            return {"teacher": PLAIN, option: arm, **own}
    if own.keys() & KINDS.keys():
        return {"teacher": PLAIN, **own}
    known = [name for registry in KINDS.values() for name in registry.names()]
    raise KeyError(f"unknown arm {arm!r}: it is no teacher, remedy or loss.{did_you_mean(arm, known)}")


def arm_of(config: RunConfig) -> str:
    """The name of a run that was given none: its teacher, remedy and loss, as far as they are not plain."""
    return " + ".join(_not_plain(vars(config)).values()) or PLAIN


def group_of(arm: str, options: Mapping[str, Any]) -> Group:
    """What an arm with these ``options`` of its runs counts as, by what its parts say of themselves."""
    parts = _not_plain(options)
    if "remedy" in parts:
        return "bound" if remedies[parts["remedy"]].uses_truth else "remedy"
    if "teacher" in parts:
        teacher = teachers[parts["teacher"]]
        if not teacher.learns:
            return "remedy"
        return "other" if teacher.sees is None else "internal" if teacher.sees == "states" else "surface"
    return "plain" if arm == PLAIN and "loss" not in parts else "remedy"


def _not_plain(options: Mapping[str, Any]) -> dict[str, str]:
    """Of teacher, remedy and loss those that differ from plain training's."""
    return {option: options[option] for option, plain in BASE.items() if options.get(option, plain) != plain}
