"""Five models of Hugging Face of a chosen size, to be timed by the code of benchmarks.speed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

import metaweight as mw
from benchmarks.models import shapes
from benchmarks.models.shapes import CLASSES, PADDING, PATCH, Build, Shape
from metaweight.core.registry import did_you_mean
from metaweight.student.losses import TokenCrossEntropy, cross_entropy

HEADS = 4
PREFIX = "hf"


@dataclass(frozen=True)
class Size:
    """What an iteration's cost may depend on."""

    length: int = 32
    """Words of the longest sentence; patches of a picture, a square number."""
    vocabulary: int = 4000
    width: int = 256


MODELS: Mapping[str, Build] = {
    "bert": shapes.bert,
    "gpt-2": shapes.gpt2,
    "llama": shapes.llama,
    "t5": shapes.t5,
    "vit": shapes.vit,
}
SPOKEN = ("gpt-2", "llama", "t5")
"""Those that learn sentences, each a unit; the others learn classes."""


@dataclass(frozen=True)
class Sized:
    """A Subject of benchmarks.speed: a model of a size, AdamW, dropout and attention as configured."""

    model: str
    size: Size = Size()
    batch: int = 16
    fast_layout: str = "contiguous"
    convolutions: bool = False

    @property
    def name(self) -> str:
        """By which ``benchmarks.speed.students.subject`` finds it, in any process."""
        return ":".join([PREFIX, self.model, *(f"{key}={value}" for key, value in asdict(self.size).items())])

    @staticmethod
    def named(name: str) -> Sized:
        """Raises KeyError for an unknown model, with the nearest one."""
        _, model, *sizes = name.split(":")
        if model not in MODELS:
            raise KeyError(f"unknown model {model!r}.{did_you_mean(model, MODELS)}")
        return Sized(model, Size(**{key: int(value) for key, _, value in (s.partition("=") for s in sizes)}))

    @property
    def described(self) -> str:
        """In a few words."""
        if self.model == "vit":
            return f"pictures of {self.size.length} patches, {CLASSES} classes"
        return f"sentences of up to {self.size.length} words out of {self.size.vocabulary:,}"

    def module(self) -> nn.Module:
        """See ``Subject``."""
        import transformers

        return MODELS[self.model](transformers, self._shape).train()

    def student(self, module: nn.Module, **options: Any) -> mw.Student:
        """See ``Subject``."""
        loss: Any = TokenCrossEntropy(PADDING) if self.model in SPOKEN else cross_entropy
        return mw.Student(module, loss, **options)

    def optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """See ``Subject``."""
        return torch.optim.AdamW(parameters, lr=3e-4, eps=1e-6)

    def loss(self, module: nn.Module, batch: mw.Batch) -> Tensor:
        """See ``Subject``."""
        logits = module(**batch.kwargs).logits
        return F.cross_entropy(logits.flatten(0, -2), batch.targets.flatten(), ignore_index=-100)

    def random_batch(self, units: int, first: int, generator: torch.Generator) -> mw.Batch:
        """See ``Subject``; sentences without padding, as packed ones are."""
        index = torch.arange(first, first + units)
        if self.model == "vit":
            side = _side(self.size)
            pixels = torch.randn(units, 3, side, side, generator=generator)
            return mw.Batch({"pixel_values": pixels}, self._labels(units, generator), index)
        ids = self._words(units, generator)
        if self.model == "bert":
            return mw.Batch({"input_ids": ids}, self._labels(units, generator), index)
        if self.model == "t5":
            after = self._words(units, generator)
            behind = torch.cat([ids.new_full((units, 1), 1), after[:, :-1]], dim=1)
            return mw.Batch({"input_ids": ids, "decoder_input_ids": behind}, after, index)
        after = torch.cat([ids[:, 1:], self._words(units, generator)[:, :1]], dim=1)
        return mw.Batch({"input_ids": ids}, after, index)

    @property
    def _shape(self) -> Shape:
        """Of Llama and T5 1.1 with gated layers of as many parameters, heads of their own."""
        width = self.size.width
        return Shape(
            width=width,
            length=self.size.length,
            words=self.size.vocabulary,
            image=_side(self.size) if self.model == "vit" else 0,
            heads=HEADS,
            key_value_heads=HEADS // 2,
            feedforward=8 * width // 3 if self.model in ("llama", "t5") else 4 * width,
            tied=False,
        )

    def _words(self, units: int, generator: torch.Generator) -> Tensor:
        return torch.randint(3, self.size.vocabulary, (units, self.size.length), generator=generator)

    def _labels(self, units: int, generator: torch.Generator) -> Tensor:
        return torch.randint(CLASSES, (units,), generator=generator)


def _side(size: Size) -> int:
    """Pixels of a square picture of so many patches; raises ValueError where there is no such square."""
    patches = round(size.length**0.5)
    if patches**2 != size.length:
        raise ValueError(f"patches make a square, got {size.length}")
    return patches * PATCH
