"""The last part of every learned teacher: from features to weights that start at exactly 1."""

from __future__ import annotations

from torch import Tensor, nn

from metaweight.teachers.base import Normalize, checked_normalize, weights_from


class WeightHead(nn.Module):
    """One hidden layer of ``width`` ReLU units and a bounded weight: [U, inputs] -> [U] in [0, 2].

    The output layer starts at zero, so that the first weights are exactly 1 and training begins as plain
    training.  With ``outputs`` > 1, ``column`` [U] says which of the output scores is a unit's own;
    ``start`` [U] is added to the scores.
    """

    def __init__(self, inputs: int, width: int, *, normalize: Normalize, outputs: int = 1) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"the hidden layer has 1 unit or more, got {width}")
        self.normalize = checked_normalize(normalize)
        self.hidden = nn.Linear(inputs, width)
        self.output = nn.Linear(width, outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(
        self, features: Tensor, *, column: Tensor | None = None, start: Tensor | None = None
    ) -> Tensor:
        """Weights [U] of the units with these features [U, inputs]."""
        scores = self.output(self.hidden(features).relu())
        score = scores[:, 0] if column is None else scores.gather(1, column[:, None]).squeeze(1)
        return weights_from(score if start is None else score + start, self.normalize)
