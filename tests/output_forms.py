"""One student whose inputs come by name and whose outputs take any form, and what its logits are."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import metaweight as mw


@dataclass(frozen=True)
class Data:
    """A dataclass, frozen."""

    hidden: Tensor
    logits: Tensor
    cache: None = None


class Both(OrderedDict):
    """A mapping whose keys are attributes too, as Hugging Face's outputs are."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Pair(NamedTuple):
    """A tuple with names; the logits come second."""

    hidden: Tensor
    logits: Tensor


class Encoding(UserDict):
    """A mapping that is no dict, as a tokenizer gives it."""


FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensor": lambda logits, hidden: logits,
    "tuple": lambda logits, hidden: (logits, hidden, {"deeper": [hidden]}),
    "dict": lambda logits, hidden: {"hidden": hidden, "logits": logits, "name": "text"},
    "only-tensor": lambda logits, hidden: {"scores": logits, "none": None},
    "dataclass": lambda logits, hidden: Data(hidden, logits),
    "mapping-with-attributes": lambda logits, hidden: Both(
        logits=logits, argmax=logits.argmax(1), hidden=(hidden,)
    ),
    "named-tuple": lambda logits, hidden: Pair(hidden, logits),
    "object": lambda logits, hidden: SimpleNamespace(hidden=hidden, logits=logits),
}


class Formed(nn.Module):
    """tanh layers over x [U, 4], scaled by position [1, 4]; the outputs in one of FORMS."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 5), nn.Linear(5, 3)
        self.form = form

    def forward(self, x: Tensor, scale: Tensor, *, factor: float = 1.0) -> Any:
        hidden = torch.tanh(self.first(factor * x * scale))
        return FORMS[self.form](self.head(hidden), hidden)


def formed(form: str) -> Formed:
    torch.manual_seed(3)
    return Formed(form).double()


def named_batch(size: int, seed: int) -> mw.Batch:
    """Inputs by name: tensors of first dimension U and 1, and a number."""
    g = torch.Generator().manual_seed(seed)
    inputs = Encoding(
        x=torch.randn(size, 4, generator=g).double(),
        scale=torch.linspace(0.5, 1.5, 4).double()[None],
        factor=0.7,
    )
    return mw.Batch(inputs, torch.randint(0, 3, (size,), generator=g), torch.arange(size) + 100 * seed)


def logits_of(outputs: Any) -> Tensor:
    """By hand, for the oracle."""
    if isinstance(outputs, Tensor):
        return outputs
    if type(outputs) is tuple:
        return outputs[0]
    if isinstance(outputs, dict):
        return outputs.get("logits", outputs.get("scores"))
    return outputs.logits
