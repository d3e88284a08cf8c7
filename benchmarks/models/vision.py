"""timm's models of pictures: four of the small ones that timm keeps for its tests, and a MobileNet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models.stand_in import import_timm
from benchmarks.models.zoo import Load, Model, Size, momentum
from metaweight.student.losses import cross_entropy

CLASSES = 10
MODELS: dict[str, Load] = {}
IMAGE = 64
"""Pixels a side; at 32 a batch's statistics stand on four values, and kinks lie close."""


def pictures(size: Size, units: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Random pictures with classes."""
    pixels = torch.randn(units, 3, IMAGE, IMAGE, generator=generator)
    return {"x": pixels}, torch.randint(CLASSES, (units,), generator=generator)


def _file(name: str, variant: str, *, sized: bool = False) -> None:
    def load() -> Model:
        timm, _ = import_timm()

        def build(size: Size) -> nn.Module:
            options: dict[str, Any] = {"img_size": IMAGE, "patch_size": 8} if sized else {}
            module: nn.Module = timm.create_model(variant, num_classes=CLASSES, **options)
            return module

        return Model("timm", build, pictures, cross_entropy, momentum, variant)

    MODELS[name] = load


_file("timm-resnet", "test_resnet")
_file("timm-vit", "test_vit", sized=True)
_file("timm-convnext", "test_convnext")
_file("timm-mobilenet", "mobilenetv3_small_050")
_file("timm-efficientnet", "test_efficientnet")
