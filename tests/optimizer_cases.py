"""Every optimizer that has an update, with options that are not the defaults and an eps that can be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn, optim
from torch.optim import Optimizer

CASES: Mapping[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sgd": (optim.SGD, {"lr": 0.1}),
    "momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    "nesterov": (optim.SGD, {"lr": 0.1, "momentum": 0.6, "nesterov": True, "weight_decay": 0.1}),
    "asgd": (optim.ASGD, {"lr": 0.1, "lambd": 0.03, "alpha": 0.6, "t0": 2, "weight_decay": 0.1}),
    "adam": (optim.Adam, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.2}),
    "amsgrad": (optim.Adam, {"lr": 0.1, "betas": (0.5, 0.6), "eps": 1e-2, "amsgrad": True}),
    "adamw": (optim.AdamW, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.2}),
    "rmsprop": (optim.RMSprop, {"lr": 0.1, "alpha": 0.8, "eps": 1e-2}),
    "rmsprop-centred": (
        optim.RMSprop,
        {"lr": 0.1, "alpha": 0.8, "eps": 1e-2, "centered": True, "momentum": 0.7, "weight_decay": 0.1},
    ),
    "adagrad": (optim.Adagrad, {"lr": 0.1, "lr_decay": 0.3, "eps": 1e-2, "weight_decay": 0.1}),
    "adagrad-started": (optim.Adagrad, {"lr": 0.1, "eps": 1e-2, "initial_accumulator_value": 0.3}),
    "adadelta": (optim.Adadelta, {"lr": 0.7, "rho": 0.8, "eps": 1e-2, "weight_decay": 0.1}),
    "adamax": (optim.Adamax, {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-2, "weight_decay": 0.1}),
    "nadam": (optim.NAdam, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "momentum_decay": 0.3}),
    "nadam-decoupled": (
        optim.NAdam,
        {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    "radam": (optim.RAdam, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    # the second moment comes into use at the sixth step
    "radam-decoupled": (
        optim.RAdam,
        {"lr": 0.1, "betas": (0.7, 0.99), "eps": 1e-2, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
}
if hasattr(optim, "Adafactor"):
    CASES = {
        **CASES,
        "adafactor": (optim.Adafactor, {"lr": 0.3, "weight_decay": 0.1, "beta2_decay": -0.6, "d": 1.3}),
        "adafactor-eps": (optim.Adafactor, {"lr": 0.3, "eps": (1e-2, 0.5)}),
    }
REAL_ONLY = frozenset(name for name in CASES if name.startswith("adafactor"))
"""torch takes no complex parameters there."""
SHARP = frozenset({"adafactor", "adafactor-eps"})
"""The first step on a vector is the sign of its gradient, which no difference sees."""


def built(case: str) -> Callable[[list[nn.Parameter]], Optimizer]:
    """The optimizer of a case, from its parameters."""
    kind, options = CASES[case]
    return lambda parameters: kind(parameters, **options)
