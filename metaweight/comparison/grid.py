"""A grid of runs of one task: arms x kinds of noise x seeds, in processes side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metaweight.comparison.arms import BASE, PLAIN, arm_options
from metaweight.comparison.cells import Cell
from metaweight.tasks.config import RunConfig, with_options

NOT_AN_ARMS = ("seed", "noise", "noise_rate", "data", "data_dir")
"""Options that an arm may not have for itself: they decide what it is compared on."""


@dataclass(frozen=True)
class Grid:
    """What is compared: every arm (a teacher, a remedy, a loss) under every kind of noise with every seed."""

    base: RunConfig
    arms: tuple[str, ...]
    noises: tuple[str, ...]
    """``KIND`` or ``KIND@RATE``: ``uniform@0.4``, ``cluster@0.8``, ``human:worse``."""
    seeds: tuple[int, ...] = (0, 1, 2)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Arm -> options of its runs that differ from ``base``, see ``arm_options``."""
    noise_overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kind of noise -> options of its runs; with ``noise`` among them the kind may have any name."""
    chosen: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Kind of noise -> arm -> options chosen on the validation set; they go over all others."""

    def cells(self) -> list[Cell]:
        """All runs, seed by seed.

        Raises ValueError for a list that is empty or names something twice, two runs of one name, a name
        that is no folder's, options that would take the seed, the noise or the data from under the grid, and
        a remedy, a loss or a plain run for every run, where it would be an arm.
        """
        self._check()
        if len(set(self.noises)) < len(self.noises) or len(set(self.arms)) < len(self.arms):
            raise ValueError("a grid names each arm and each kind of noise once")
        cells = [self.cell(a, n, s) for s in self.seeds for n in self.noises for a in self.arms]
        if any(cell.config.plain_run for cell in cells):
            raise ValueError(f"plain_run is for one run alone: in a comparison name the arm {PLAIN}")
        by_name: dict[str, Cell] = {}
        for cell in cells:
            if "/" in cell.name or "\\" in cell.name:
                raise ValueError(f"a run's folder is named {cell.name!r}: name arm and noise without a slash")
            other = by_name.setdefault(cell.name, cell)
            if other is not cell:
                one, two = (f"{c.arm} under {c.noise} with seed {c.config.seed}" for c in (other, cell))
                raise ValueError(f"two runs would share the folder {cell.name}: {one}, and {two}")
        return cells

    def _check(self) -> None:
        for what, listed in (("arms", self.arms), ("kinds of noise", self.noises), ("seeds", self.seeds)):
            if not listed:
                raise ValueError(f"a grid has no {what}: name at least one")
        for option in ("remedy", "loss"):
            value = getattr(self.base, option, BASE[option])
            if value != BASE[option]:
                raise ValueError(
                    f"{option} {value!r} for every run would leave no plain training to compare with: "
                    "name it among the arms"
                )
        for arm, own in self.overrides.items():
            for option in NOT_AN_ARMS:
                if option in own:
                    raise ValueError(f"{option} of arm {arm} decides what it is compared on: leave it out")
        for noise, own in self.noise_overrides.items():
            if "seed" in own:
                raise ValueError(f"seed of noise {noise} is the grid's to say: leave it out")
            if "@" in noise and own.keys() & {"noise", "noise_rate"}:
                raise ValueError(f"noise {noise} says its rate in its name: leave noise and noise_rate out")

    def cell(self, arm: str, noise: str, seed: int) -> Cell:
        """One run."""
        kind, at, rate = noise.partition("@")
        try:
            options: dict[str, Any] = {"noise_rate": float(rate)} if at else {}
        except ValueError:
            raise ValueError(f"a kind of noise is KIND or KIND@RATE, got {noise!r}") from None
        config = with_options(self.base, {"noise": kind, "seed": seed} | options)
        config = with_options(config, self.noise_overrides.get(noise, {}))
        config = with_options(config, arm_options(arm, self.overrides.get(arm, {})))
        config = with_options(config, self.chosen.get(noise, {}).get(arm, {}))
        name = f"{noise.replace(':', '-').replace('@', '-')}.{arm}.{seed}"
        return Cell(name, config, noise, arm)
