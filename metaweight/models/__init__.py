"""Image models by name, with the taps that a teacher looks into by default.

A model is built from ``classes``, ``channels`` and ``size`` and options of its own.  Initial weights come
from torch's global generator, as every torch module's do: ``torch.manual_seed`` before building.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from metaweight.core.options import Options, checked_options, options_of
from metaweight.core.registry import Registry
from metaweight.models.convnet import ConvNet
from metaweight.models.mlp import MLP
from metaweight.models.resnet import ResNet
from metaweight.models.wide_resnet import WideResNet

models: Registry[Callable[..., nn.Module]] = Registry("model")
models.add("convnet", ConvNet)
models.add("mlp", MLP)
_SHAPE = ("classes", "channels", "size")
_STAGES = ("layer1", "layer2", "layer3")
_TAPS = {
    "convnet": ("block2", "block3", "hidden"),
    "mlp": ("hidden",),
    "resnet-20": _STAGES,
    "resnet-32": _STAGES,
    "wrn-28-10": ("layer1", "layer2", "pool"),  # its layer3 is not yet normalised and rectified
}


@models.register("resnet-20")
def resnet_20(classes: int, channels: int, size: int) -> nn.Module:
    """ResNet-20, 0.27 M parameters."""
    return ResNet(classes, channels, size, depth=20)


@models.register("resnet-32")
def resnet_32(classes: int, channels: int, size: int) -> nn.Module:
    """ResNet-32, 0.46 M parameters."""
    return ResNet(classes, channels, size, depth=32)


@models.register("wrn-28-10")
def wrn_28_10(classes: int, channels: int, size: int, *, dropout: float = 0.0) -> nn.Module:
    """WRN-28-10, 36.5 M parameters."""
    return WideResNet(classes, channels, size, depth=28, widen=10, dropout=dropout)


def model_options(name: str) -> dict[str, Any]:
    """Option -> default of the model ``name``, beside classes, channels and size."""
    return options_of(models[name], beside=_SHAPE)


def build_model(name: str, *, classes: int, channels: int, size: int, **options: Any) -> nn.Module:
    """The model ``name`` for ``channels`` x ``size`` x ``size`` images of ``classes`` classes.

    Raises KeyError for an unknown model, TypeError for an unknown option (with the nearest one) and for one
    of another type, ValueError for sizes that do not fit.
    """
    own = checked_model_options(name, options)
    return models[name](classes=classes, channels=channels, size=size, **own)


def checked_model_options(name: str, options: Options) -> dict[str, Any]:
    """``options`` as the model ``name`` takes them.  Raises as ``build_model``, which needs sizes."""
    return checked_options(f"model {name!r}", models[name], options, beside=_SHAPE)


def default_taps(name: str) -> tuple[str, ...]:
    """Taps of a model from early to deep; the last, pooled over space, is the input of its ``head``.

    Raises KeyError for an unknown model, ValueError for one that was registered from outside.
    """
    _ = models[name]
    if name not in _TAPS:
        raise ValueError(f"model {name!r} has no default taps: name some of its submodules")
    return _TAPS[name]
