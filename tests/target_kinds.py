"""Students with targets that are no single class, and what torch calls their loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaweight as mw
from metaweight.student.losses import UnitLoss


@dataclass(frozen=True)
class Kind:
    """A student's head, targets of U rows, our loss, and torch's own of the whole batch."""

    module: Callable[[], nn.Module]
    targets: Callable[[int, torch.Generator], Tensor]
    loss: UnitLoss
    torchs: Callable[[Tensor, Tensor], Tensor]
    shape: tuple[int, ...] = (4,)


def _head(outputs: int, *after: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs), *after)


def _image() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 3, 1))


def _normal(*shape: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda size, g: torch.randn(size, *shape, generator=g).double()


def _yes_or_no(*shape: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda size, g: torch.randint(0, 2, (size, *shape), generator=g)


def _pixels(size: int, g: torch.Generator) -> Tensor:
    labels = torch.randint(0, 3, (size, 4, 4), generator=g)
    return labels.masked_fill(torch.rand(size, 4, 4, generator=g) < 0.3, 255)


def _torchs_bce(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype).view_as(outputs))


def _torchs_mse(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs, targets.view_as(outputs))


KINDS: dict[str, Kind] = {
    "soft": Kind(
        _head(3),
        lambda size, g: torch.randn(size, 3, generator=g).double().softmax(1),
        mw.losses.soft_cross_entropy,
        F.cross_entropy,
    ),
    "one-logit": Kind(_head(1), _yes_or_no(), mw.losses.binary_cross_entropy, _torchs_bce),
    "one-logit-flat": Kind(
        _head(1, nn.Flatten(0)), _yes_or_no(), mw.losses.binary_cross_entropy, _torchs_bce
    ),
    "multi-label": Kind(_head(4), _yes_or_no(4), mw.losses.binary_cross_entropy, _torchs_bce),
    "number": Kind(_head(1), _normal(), mw.losses.squared_error, _torchs_mse),
    "numbers": Kind(_head(2), _normal(2), mw.losses.squared_error, _torchs_mse),
    "pixels": Kind(
        _image,
        _pixels,
        mw.losses.PixelCrossEntropy(ignore_index=255),
        lambda outputs, targets: F.cross_entropy(outputs, targets, ignore_index=255),
        (1, 4, 4),
    ),
}


def kind_batch(kind: str, size: int, seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, *KINDS[kind].shape, generator=g).double()
    return mw.Batch((x,), KINDS[kind].targets(size, g), torch.arange(size) + 100 * seed)


def kind_student(kind: str, **options: object) -> mw.Student:
    torch.manual_seed(2)
    return mw.Student(KINDS[kind].module().double(), loss=KINDS[kind].loss, **options)


def first_loss(kind: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Our loss as [U] alone, for the oracle."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        given = KINDS[kind].loss(outputs, targets)
        return given[0] if isinstance(given, tuple) else given

    return loss
