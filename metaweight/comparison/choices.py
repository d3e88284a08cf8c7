"""What a comparison chose on the validation set, and what it chose from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaweight.core.records import Record

CHOICES = "choices.json"


class Try(Record, frozen=True):
    """One choice of options."""

    options: Mapping[str, Any]
    """Over the arm's defaults."""
    score: float | None
    """Mean over the tuning's seeds; None where a run failed or its figure is not finite."""
    runs: tuple[str, ...]
    """Their names below tuning/."""


class ArmChoice(Record, frozen=True, kw_only=True):
    """What was chosen for one arm under one kind of noise."""

    noise: str
    arm: str
    tries: tuple[Try, ...]
    """The first one is the arm's defaults."""
    chosen: int
    """Which of them; the defaults where none has a score."""
    few: bool
    """The arm has fewer different candidates than the budget: these are all."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Those that were chosen."""
        return self.tries[self.chosen].options


class Choices(Record, frozen=True, kw_only=True):
    """choices.json of a grid."""

    figure: str
    """Of the validation set."""
    higher_is_better: bool
    seeds: tuple[int, ...]
    """Of the tuning runs."""
    arms: tuple[ArmChoice, ...]
