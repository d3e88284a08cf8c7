"""A trusted set never comes out of unchecked rows, unless the user says so, and then it is printed."""

from __future__ import annotations

from metaweight.tasks.config import OwnData, RunConfig
from metaweight.teachers.base import registry


def looks_at_trusted(config: RunConfig) -> bool:
    """Whether the run's teacher, or its remedy, looks at trusted rows.

    Raises KeyError for an unknown teacher, with the nearest.
    """
    teacher = registry[config.teacher]
    return teacher.learns or teacher.wants_meta or config.remedy != "none"


def require_trusted(config: RunConfig, *, way: str) -> None:
    """Raise ValueError where trusted rows would be drawn out of unchecked ones, unless told to.

    To be called where the data name no trusted rows and nobody says that they are right.  ``way``: how to
    name some, behind "check so many and".
    """
    if config.meta_from_train or not looks_at_trusted(config):
        return
    data = config.data
    needs = f"{config.meta_size} trusted rows (meta_size), and {config.valid_size} to validate (valid_size)"
    if isinstance(config, OwnData) and config.train is not None:
        data, needs = config.train, f"trusted rows, {config.meta_size} or so and some of each class"
    user = f"teacher {config.teacher!r}" if config.remedy == "none" else f"remedy {config.remedy!r}"
    raise ValueError(
        f"{data}: nobody says that this is right as it is, so no row of it is one to trust, and {user} needs "
        f"{needs}. Check so many and {way}. Or have them drawn out of the training rows as they are, wrong "
        "ones among them: --meta-from-train"
    )


def drawn_unchecked(config: RunConfig, meta: int, valid: int | None) -> str:
    """What is to be said of a run whose ``meta`` and ``valid`` rows were drawn out of unchecked ones.

    ``valid`` is None where the validation set is another.
    """
    and_valid = " is" if valid is None else f" and validation set ({valid:,}) are"
    why = "meta_from_train" if config.meta_from_train else "the teacher looks at none of them"
    return f"meta set ({meta:,}){and_valid} drawn out of the training rows, which nobody has checked: {why}"
