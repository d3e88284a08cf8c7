"""The ResNets for small images of He et al. (2016), section 4.2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.models.shape import check_shape, init_convolutions


class ResNet(nn.Module):
    """Three stages of basic blocks with 16, 32 and 64 channels: depth 6n + 2, shortcuts of option A.

    Images [B, channels, size, size] -> logits [B, classes].  Stages ``layer1`` to ``layer3``, then ``pool``
    ([B, 64], the mean over space) and ``head``.  Raises ValueError for another depth or a bad size.
    """

    def __init__(self, classes: int, channels: int, size: int, *, depth: int) -> None:
        super().__init__()
        check_shape(classes, channels, size)
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"the depth of a CIFAR ResNet is 6n + 2 (8, 14, 20, 26, 32, ...), got {depth}")
        blocks = depth // 6
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, 1, blocks)
        self.layer2 = _stage(16, 32, 2, blocks)
        self.layer3 = _stage(32, 64, 2, blocks)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(64, classes)
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes]."""
        x = F.relu(self.norm(self.conv(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.head(self.pool(x))
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters.

    [B, inputs, s, s] -> [B, outputs, s / stride, s / stride], rounded up.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.wider = stride, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """relu(shortcut(x) + residual(x))."""
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(self._shortcut(x) + residual)

    def _shortcut(self, x: Tensor) -> Tensor:
        """Option A: every ``stride``-th pixel, new channels zero."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.wider)) if self.wider else x


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    rest = (BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1))
    return nn.Sequential(BasicBlock(inputs, outputs, stride), *rest)
