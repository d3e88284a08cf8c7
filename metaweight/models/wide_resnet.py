"""Wide residual networks (Zagoruyko & Komodakis 2016): few, wide, pre-activated blocks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.models.shape import check_shape, init_convolutions


class WideResNet(nn.Module):
    """WRN-``depth``-``widen``: three stages of 16, 32 and 64 times ``widen`` channels, depth 6n + 4.

    Images [B, channels, size, size] -> logits [B, classes].  Stages ``layer1`` to ``layer3`` (before their
    activation), then ``pool`` ([B, 64 * widen], normalised, rectified and averaged over space: the last
    hidden state) and ``head``.  ``dropout``: probability between the two convolutions of a block.
    Raises ValueError for another depth, a bad size or a probability outside [0, 1).
    """

    def __init__(
        self,
        classes: int,
        channels: int,
        size: int,
        *,
        depth: int = 28,
        widen: int = 10,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_shape(classes, channels, size)
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"the depth of a wide ResNet is 6n + 4 (10, 16, 22, 28, ...), got {depth}")
        if widen < 1:
            raise ValueError(f"widen is at least 1, got {widen}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a probability in [0, 1), got {dropout}")
        blocks, (first, second, third) = depth // 6, (16 * widen, 32 * widen, 64 * widen)
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.layer1 = _stage(16, first, 1, blocks, dropout)
        self.layer2 = _stage(first, second, 2, blocks, dropout)
        self.layer3 = _stage(second, third, 2, blocks, dropout)
        self.pool = nn.Sequential(nn.BatchNorm2d(third), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(third, classes)
        init_convolutions(self)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes]."""
        x = self.layer3(self.layer2(self.layer1(self.conv(images))))
        logits: Tensor = self.head(self.pool(x))
        return logits


class WideBlock(nn.Module):
    """BatchNorm, ReLU, convolution, twice, beside a shortcut.

    [B, inputs, s, s] -> [B, outputs, s / stride, s / stride], rounded up.  Where the shape changes, the
    shortcut is a 1x1 convolution of the activated input, as in the authors' code; elsewhere it is the
    input itself.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride > 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """shortcut + residual, not rectified."""
        active = F.relu(self.norm1(x))
        residual = self.conv2(self.dropout(F.relu(self.norm2(self.conv1(active)))))
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(active)
        output: Tensor = shortcut + residual
        return output


def _stage(inputs: int, outputs: int, stride: int, blocks: int, dropout: float) -> nn.Sequential:
    rest = (WideBlock(outputs, outputs, 1, dropout) for _ in range(blocks - 1))
    return nn.Sequential(WideBlock(inputs, outputs, stride, dropout), *rest)
