"""What an engine can do, as data that commands, schedules, messages and tests read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Abilities:
    """Of an engine; the defaults are those of an exact one for a single inner step."""

    steps: int | None = 1
    """Most inner steps K; None for any number."""
    exact: bool = True
    """Whether the hypergradient is that of the inner steps up to rounding."""
    coupled: bool = True
    """Whether samples of a batch may influence each other's loss, as in BatchNorm."""
    tokens: bool = True
    """Whether a unit may be one token of a sentence."""
    gathers: bool = True
    """Whether the inner step is taken on gradients that are there already too, ``Problem.gathered``."""
    written_out_attention: bool = True
    """Whether attention must be in its written-out form; fused kernels have no derivative to go on from."""
    ends_window: bool = False
    """Whether the inner steps can be the real ones: ``Solution.end``, ``states``."""
    weighs_again: bool = False
    """Whether the train loss's gradient at other weights costs no backward: ``Solution.gradient_at``."""
    sharded: bool = False
    """Whether the student's parameters may be sharded over processes, by ``fully_shard``."""
    asks_others: bool = False
    """Whether its answers are those of other engines, each checked as that engine's."""
