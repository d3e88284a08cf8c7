"""Models of table rows by name, with the taps that a teacher looks into by default.

A model is built from ``numbers`` (columns of numbers), ``cardinalities`` (codes of each column of categories)
and ``outputs``, and options of its own.  Initial weights come from torch's global generator:
``torch.manual_seed`` before building.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metaweight.core.options import Options, checked_options, options_of
from metaweight.core.registry import Registry

tabular_models: Registry[Callable[..., nn.Module]] = Registry("tabular model")
_SIZES = ("numbers", "cardinalities", "outputs")
_TAPS = {"tabular-mlp": ("hidden",), "tabular-resnet": ("hidden",)}


class RowInput(nn.Module):
    """Numbers [B, d] float and codes [B, c] int64 -> one row of numbers [B, width].

    Each code has an embedding of ``embedding`` numbers.  Codes 0 and 1 of a column (a category that training
    did not show often enough, and a missing one) start at zero: what was never trained says nothing.
    """

    offsets: Tensor

    def __init__(self, numbers: int, cardinalities: Sequence[int], *, embedding: int) -> None:
        super().__init__()
        if numbers < 0 or any(size < 1 for size in cardinalities) or numbers + len(cardinalities) == 0:
            raise ValueError(
                "a tabular model needs a column or more, and a code or more of each category, got "
                f"numbers={numbers} and cardinalities={tuple(cardinalities)}"
            )
        if embedding < 1:
            raise ValueError(f"embedding is 1 or more, got {embedding}")
        firsts = torch.tensor([0, *cardinalities], dtype=torch.int64).cumsum(0)
        self.register_buffer("offsets", firsts[:-1], persistent=False)
        self.codes = nn.Embedding(int(firsts[-1]), embedding) if len(cardinalities) else None
        if self.codes is not None:
            with torch.no_grad():
                for first, size in zip(firsts.tolist(), cardinalities, strict=False):
                    self.codes.weight[first : first + min(size, 2)] = 0
        self.width = numbers + embedding * len(cardinalities)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """The row [B, width]."""
        if self.codes is None:
            return numbers
        embedded = self.codes(categories + self.offsets).flatten(1)
        return torch.cat([numbers, embedded.to(numbers.dtype)], dim=1)


class TabularMLP(nn.Module):
    """``depth`` layers of ``width`` units, each normalised over its own units, and the ``head``.

    (numbers [B, d], categories [B, c] int64) -> [B, outputs].  No layer sees another row of the batch.  The
    output of ``hidden`` is the last hidden state.  Raises ValueError for sizes that are not positive or a
    dropout outside [0, 1).
    """

    def __init__(
        self,
        numbers: int,
        cardinalities: Sequence[int],
        outputs: int,
        *,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.3,
        embedding: int = 8,
    ) -> None:
        super().__init__()
        _check_sizes(outputs, width, depth, dropout)
        self.row = RowInput(numbers, cardinalities, embedding=embedding)
        layers: list[nn.Module] = []
        for layer in range(depth):
            inputs = width if layer else self.row.width
            layers += [nn.Linear(inputs, width), nn.LayerNorm(width), nn.ReLU(), *_dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(width, outputs)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Logits or numbers [B, outputs]."""
        outputs: Tensor = self.head(self.hidden(self.row(numbers, categories)))
        return outputs


class TabularBlock(nn.Module):
    """x + f(norm(x)), f two linear layers with a ReLU between: [B, width] -> [B, width]."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            *_dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, states: Tensor) -> Tensor:
        """The states after this block."""
        after: Tensor = states + self.inner(states)
        return after


class TabularResNet(nn.Module):
    """A linear layer, ``depth`` pre-norm residual blocks, and the ``head``; Gorishniy et al. (2021).

    As ``TabularMLP``.  Difference to the paper: layers are normalised over a row's units and not over the
    batch, so that a row's loss is a function of that row alone.
    """

    def __init__(
        self,
        numbers: int,
        cardinalities: Sequence[int],
        outputs: int,
        *,
        width: int = 96,
        depth: int = 2,
        dropout: float = 0.3,
        embedding: int = 8,
    ) -> None:
        super().__init__()
        _check_sizes(outputs, width, depth, dropout)
        self.row = RowInput(numbers, cardinalities, embedding=embedding)
        self.first = nn.Linear(self.row.width, width)
        self.blocks = nn.Sequential(*(TabularBlock(width, dropout) for _ in range(depth)))
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.ReLU())
        self.head = nn.Linear(width, outputs)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Logits or numbers [B, outputs]."""
        outputs: Tensor = self.head(self.hidden(self.blocks(self.first(self.row(numbers, categories)))))
        return outputs


tabular_models.add("tabular-mlp", TabularMLP)
tabular_models.add("tabular-resnet", TabularResNet)


def build_tabular(
    name: str, *, numbers: int, cardinalities: Sequence[int], outputs: int, **options: Any
) -> nn.Module:
    """The model ``name``: ``module(numbers [B, d], categories [B, c])`` -> [B, outputs].

    Raises KeyError for an unknown model, TypeError for an unknown option (with the nearest one) and for one
    of another type, ValueError for sizes that do not fit.
    """
    own = checked_tabular_options(name, options)
    return tabular_models[name](numbers=numbers, cardinalities=cardinalities, outputs=outputs, **own)


def tabular_options(name: str) -> dict[str, Any]:
    """Option -> default of the tabular model ``name``, beside its sizes."""
    return options_of(tabular_models[name], beside=_SIZES)


def checked_tabular_options(name: str, options: Options) -> dict[str, Any]:
    """``options`` as the tabular model ``name`` takes them.  Raises as ``build_tabular``."""
    return checked_options(f"tabular model {name!r}", tabular_models[name], options, beside=_SIZES)


def default_tabular_taps(name: str) -> tuple[str, ...]:
    """Taps of a tabular model; the last is the input of its ``head``.

    Raises KeyError for an unknown model, ValueError for one that was registered from outside.
    """
    _ = tabular_models[name]
    if name not in _TAPS:
        raise ValueError(f"tabular model {name!r} has no default taps: name some of its submodules")
    return _TAPS[name]


def _dropout(rate: float) -> list[nn.Module]:
    return [nn.Dropout(rate)] if rate else []


def _check_sizes(outputs: int, width: int, depth: int, dropout: float) -> None:
    for name, value in (("outputs", outputs), ("width", width), ("depth", depth)):
        if value < 1:
            raise ValueError(f"a tabular model needs {name} >= 1, got {value}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is a probability in [0, 1), got {dropout}")
