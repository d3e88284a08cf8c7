"""The submodules of a module, walked anew where one has got others."""

from __future__ import annotations

import gc
import weakref
from functools import partial

from torch import nn

from metaweight.core import submodules as room
from metaweight.core.submodules import named_tensors, submodules


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.BatchNorm1d(2)))


def test_they_are_those_of_torch_whatever_is_exchanged() -> None:
    module = net()
    first = submodules(module)
    assert first == list(module.named_modules())
    assert submodules(module) == first
    for change in (
        lambda: setattr(module[1], "0", nn.GELU()),
        lambda: module.append(nn.Linear(2, 1)),
        lambda: module[1].add_module("deep", nn.Sequential(nn.Linear(1, 1))),
        lambda: module[1].__delitem__(1),
        lambda: module[1].append(module[0]),  # a shared one appears once
    ):
        change()
        assert submodules(module) == list(module.named_modules())


def called(*_: object) -> None:
    pass


def test_a_module_that_nobody_holds_goes() -> None:
    module = net()
    module[0].register_forward_hook(partial(called, module))  # a part that refers back
    submodules(module)
    assert module in room._known
    seen = weakref.ref(module)
    del module
    gc.collect()
    assert seen() is None


def test_tensors_have_the_names_that_torch_gives_them() -> None:
    module = net()
    module[1].register_parameter("tied", module[0].weight)
    module[1].register_parameter("none", None)
    parameters = named_tensors((name, part._parameters) for name, part in submodules(module))
    assert list(parameters.items()) == list(module.named_parameters())
    buffers = named_tensors((name, part._buffers) for name, part in submodules(module))
    assert list(buffers.items()) == list(module.named_buffers())
