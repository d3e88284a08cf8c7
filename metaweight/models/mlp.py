"""A multi-layer perceptron for small images."""

from __future__ import annotations

from torch import Tensor, nn

from metaweight.models.activations import activation_of
from metaweight.models.shape import check_shape


class MLP(nn.Module):
    """A ``hidden`` layer with an activation, and the ``head``; smooth unless asked otherwise.

    Images [B, channels, size, size] -> logits [B, classes].  ``width``: units of the hidden layer.
    Raises ValueError for a size or width that does not fit, KeyError for an unknown activation.
    """

    def __init__(
        self, classes: int, channels: int, size: int, *, width: int = 128, activation: str = "gelu"
    ) -> None:
        super().__init__()
        check_shape(classes, channels, size)
        if width < 1:
            raise ValueError(f"width is 1 or more, got {width}")
        inputs, kind = channels * size * size, activation_of(activation)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), kind())
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes]."""
        logits: Tensor = self.head(self.hidden(images))
        return logits
