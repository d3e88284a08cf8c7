"""The train pass as what its calls give, where parameters are sharded: one of them is whole at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from metaweight.engines.base import GradientAt
from metaweight.engines.checks import EngineError
from metaweight.engines.ghost.contacts import Part
from metaweight.engines.ghost.sources import Key
from metaweight.engines.one_step import Differentiated, TrainPass
from metaweight.student.student import Named


class ShardedShares(Differentiated):
    """Holds the calls' inputs and output gradients; of parameters, gradients and directions the shards.

    Each process makes the gradient of a parameter from its own rows and sends every other one its shard;
    of a direction all gather one parameter's, for the inner products with the gradients of their own rows.
    """

    def __init__(
        self, parts: Sequence[Part], names: Mapping[int, str], train: TrainPass, weights: Tensor
    ) -> None:
        assert train.student.sharded is not None
        self._train, self._sharded = train, train.student.sharded
        self._uses: dict[str, list[tuple[Part, Key]]] = {name: [] for name in train.student.parameters()}
        for part in parts:
            for source in part.sources:
                if not isinstance(source.key, int):
                    raise EngineError(
                        "a function of parameters alone meets the batch (a normalised or an expanded weight, "
                        "say), and fully_shard has sharded them: use engine='difference'"
                    )
                if source.key in names:
                    self._uses[names[source.key]].append((part, source.key))
        self._reached = self._reached_anywhere()
        self.gradient = self.gradient_at(weights)

    @property
    def again(self) -> GradientAt:
        """See ``Differentiated``."""
        return self.gradient_at

    def gradient_at(self, weights: Tensor) -> dict[str, Tensor]:
        """Shards of the gradient of mean(weights * loss) over the joined batch, for ``weights`` [U] here."""
        scale = weights.detach() * (self._train.recorded.forward.part.share / len(weights))
        with torch.no_grad():
            return {name: self._sharded.scattered(name, self._of_rows(name, scale)) for name in self._reached}

    def _of_rows(self, name: str, scale: Tensor) -> Tensor:
        """sum_i scale_i grad loss_i of the parameter ``name``, over the rows here."""
        like = self._sharded.parameters[name]
        total = torch.zeros(like.shape, dtype=like.dtype, device=like.device)
        for part, key in self._uses[name]:
            for source, gradient in part.gradients(scale):
                if source.key == key:
                    total += gradient
        return total

    def slopes(self, direction: Named) -> Tensor:
        """See ``Differentiated``."""
        slopes = torch.zeros_like(self._train.loss)
        with torch.no_grad():
            for name, shard in direction.items():
                whole = self._sharded.gathered(name, shard)
                for part, key in self._uses[name]:
                    slopes += part.slopes({key: whole})
        return slopes

    def _reached_anywhere(self) -> list[str]:
        """The parameters that a row of the joined batch meets."""
        own = torch.tensor(
            [float(bool(uses)) for uses in self._uses.values()], device=self._train.loss.device
        )
        known = self._sharded.total(own).tolist()
        return [name for name, count in zip(self._uses, known, strict=True) if count]
