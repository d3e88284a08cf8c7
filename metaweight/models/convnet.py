"""A small ConvNet for 8x8 to 32x32 images, quick enough for a benchmark on one CPU core."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from metaweight.core.registry import did_you_mean
from metaweight.models.activations import activation_of
from metaweight.models.shape import check_shape

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda width: nn.GroupNorm(4, width),
    "none": lambda width: nn.Identity(),
}


class ConvNet(nn.Module):
    """Three 3x3 convolutions (``block1`` to ``block3``), a ``hidden`` linear layer and the ``head``.

    Images [B, channels, size, size] -> logits [B, classes].  ``width``: channels of the first block, a
    multiple of 4; the other two have twice as many.  ``norm``: "batch", "group" (4 groups, so no sample
    sees another) or "none".  ``activation``: "relu", "gelu" (smooth: gradients through a whole run foretell
    more) or "tanh".  Strides halve the image (in the first block only above 16 pixels), for
    pooling after full-size convolutions takes up to 4 times as long.  ``hidden`` reads the mean over
    space: reading each position by itself, the net learns wrong labels by heart more readily.  Its
    activated output is the last hidden state.
    Raises ValueError for a size or width that does not fit, KeyError for an unknown norm or activation.
    """

    def __init__(
        self,
        classes: int,
        channels: int,
        size: int,
        *,
        width: int = 32,
        norm: str = "batch",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_shape(classes, channels, size)
        if norm not in NORMS:
            raise KeyError(f"unknown norm {norm!r}.{did_you_mean(norm, NORMS)}")
        if width < 4 or width % 4:
            raise ValueError(f"width is a multiple of 4, got {width}")
        first, kind = 2 if size > 16 else 1, activation_of(activation)
        self.block1 = _block(channels, width, first, norm, kind)
        self.block2 = _block(width, 2 * width, 2, norm, kind)
        self.block3 = _block(2 * width, 2 * width, 2, norm, kind)
        self.hidden = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 4 * width), kind()
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes]."""
        logits: Tensor = self.head(self.hidden(self.block3(self.block2(self.block1(images)))))
        return logits


def _block(inputs: int, outputs: int, stride: int, norm: str, kind: type[nn.Module]) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=norm == "none")
    return nn.Sequential(convolution, NORMS[norm](outputs), kind())
