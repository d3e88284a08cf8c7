"""The values and seams that every room of metaweight agrees on; no code of any teacher or engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from metaweight.core.batch import Batch as Batch
from metaweight.core.batch import require_batch as require_batch
from metaweight.core.errors import CollapseWarning as CollapseWarning
from metaweight.core.errors import LostProcessError as LostProcessError
from metaweight.core.errors import MetaweightError as MetaweightError
from metaweight.core.errors import NonFiniteError as NonFiniteError
from metaweight.core.forward import Forward as Forward
from metaweight.core.states import StateSpec as StateSpec
from metaweight.core.states import StudentState as StudentState
from metaweight.core.states import Suggestion as Suggestion
from metaweight.core.states import Target as Target
from metaweight.core.states import Units as Units

Center = bool | Literal["class"]
"""How a hypergradient of weights is centred: not, within the batch, within each given class of it."""


@dataclass(frozen=True)
class StepReport:
    """What one meta-iteration did.

    A Reweighter's numbers come from the device with the next iteration, or where one is asked for before.
    """

    weights: Tensor
    """[U], the weights of the real step, detached."""
    losses: Tensor
    """[U], loss per target token (of an image: its loss) before the real step, detached."""
    train_loss: float
    """Mean of the unit losses without weights, before the real step."""
    meta_loss: float | None
    """Mean loss on the meta batch after the virtual step; None where no meta pass ran."""
    stats: Mapping[str, float]
    """Scalars: weight_mean, weight_spread (std / mean), ess (share), size (targets), the engine's own, and
    where labels move their mean share, ``moved``."""
    index: Tensor
    """[U], position of each unit in the data set; tokens of one sentence share theirs."""
