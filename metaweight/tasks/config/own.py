"""The options by which a run of any task is given the user's own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from metaweight.core.registry import did_you_mean
from metaweight.tasks.config.run import RunConfig

PARTS = ("train", "meta", "valid", "test")
"""Options that name the parts of own data."""
OVERLAPS = ("error", "drop")
"""What may be done where ``train`` shares a sample with a trusted part."""


@dataclass(frozen=True, kw_only=True)
class OwnData(RunConfig):
    """The options of a task that takes own data; ``train`` says that they are used, in place of ``data``."""

    places: ClassVar[tuple[str, ...]] = ("data", *PARTS)

    train: str | None = None
    """Training data of your own, used whole: a table (.csv, .tsv, .jsonl or .parquet, also .gz, .xz, .bz2,
    .zst), hf:NAME of the hub or on disk, or a folder."""
    meta: str | None = None
    """Trusted data that drive the teacher, used whole: labels that somebody has checked."""
    valid: str | None = None
    """Trusted data for model selection; without it there is none."""
    test: str | None = None
    """Trusted data to measure on at the end; without it nothing is measured on them."""
    label: str | None = None
    """Column of the label in these; default: the one that is called so."""
    meta_column: str | None = None
    """Column of the training data that marks trusted rows with yes, true, x or 1, in place of meta."""

    @property
    def own(self) -> Mapping[str, str]:
        """Part -> the own data that are named for it; empty where the run is on a data set by name."""
        named = {part: getattr(self, part) for part in PARTS}
        return {part: given for part, given in named.items() if given is not None}


def check_own(config: OwnData, *, more: Sequence[str] = ()) -> None:
    """Raise ValueError for options of own data without ``train``, or that contradict each other beside it.

    ``more``: options of the task that mean nothing without ``train``.
    """
    defaults = {field.name: field.default for field in fields(config)}
    changed = {name for name, default in defaults.items() if getattr(config, name) != default}
    if config.train is None:
        for option in ("meta", "valid", "test", "label", "meta_column", *more):
            if option in changed:
                raise ValueError(
                    f"{option} goes with train, your own training data: give train too, or leave {option} out"
                )
        return
    if "data" in changed:
        raise ValueError("data names a data set, train your own data: give one of them")
    if config.meta is not None and config.meta_column is not None:
        raise ValueError("meta and meta_column both name the trusted rows: give one of them")
    trusted = "meta" if config.meta is not None else "meta_column"
    if getattr(config, trusted) is not None:
        for option in ("meta_from_train", "meta_size", "valid_size"):
            if option in changed:
                raise ValueError(
                    f"{option} has no meaning beside {trusted}, whose rows are all used: give one of them"
                )
    elif config.valid is not None and "valid_size" in changed:
        raise ValueError("valid_size has no meaning beside valid, which is used whole: give one of them")


def check_overlap(overlap: str) -> None:
    """Raise ValueError, with the nearest one, for what is none of ``OVERLAPS``."""
    if overlap not in OVERLAPS:
        raise ValueError(f"unknown overlap {overlap!r}.{did_you_mean(overlap, OVERLAPS)}")
