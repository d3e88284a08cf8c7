"""What every image model checks and how it draws its convolutions."""

from __future__ import annotations

from torch import nn


def check_shape(classes: int, channels: int, size: int) -> None:
    """Raise ValueError unless there are 2 classes, 1 channel and 8x8 pixels or more."""
    for name, value, least in (("classes", classes, 2), ("channels", channels, 1), ("size", size, 8)):
        if value < least:
            raise ValueError(f"an image model needs {name} >= {least}, got {value}")


def init_convolutions(module: nn.Module) -> None:
    """He et al. (2015), eq. 14: normal, variance 2 / fan-out; draws from torch's global generator."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
