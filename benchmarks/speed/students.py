"""The students that are timed: image models, an MLP, translators, a language model; with random batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

import metaweight as mw
from benchmarks.speed.language import Language
from metaweight.core.registry import did_you_mean
from metaweight.data.text.vocabulary import BOS, EOS, PADDING
from metaweight.models import build_model, models
from metaweight.models.translators import build_translator, translators
from metaweight.student.losses import TokenCrossEntropy


class Subject(Protocol):
    """A kind of student, and how everybody trains it without metaweight."""

    batch: int
    """Units of a batch where no number is asked for."""
    described: str

    def module(self) -> nn.Module:
        """With first weights from torch's global generator."""
        ...

    @property
    def fast_layout(self) -> str:
        """The memory format that goes with bf16."""
        ...

    @property
    def convolutions(self) -> bool:
        """Whether it has any."""
        ...

    def student(self, module: nn.Module, **options: Any) -> mw.Student:
        """``module`` with its unit losses; ``options`` of the Student."""
        ...

    def optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The usual one for this kind."""
        ...

    def loss(self, module: nn.Module, batch: mw.Batch) -> Tensor:
        """The mean loss as a training loop writes it."""
        ...

    def random_batch(self, units: int, first: int, generator: torch.Generator) -> mw.Batch:
        """``units`` samples at random; positions from ``first`` on."""
        ...


@dataclass(frozen=True)
class Classified:
    """Samples of one shape in 10 classes; momentum SGD as in the MW-Net protocol."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    described: str
    batch: int = 100

    @property
    def fast_layout(self) -> str:
        return "channels_last" if self.convolutions else "contiguous"

    @property
    def convolutions(self) -> bool:
        return len(self.shape) == 3

    def module(self) -> nn.Module:
        return self.build()

    def student(self, module: nn.Module, **options: Any) -> mw.Student:
        return mw.Student(module, **options)

    def optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4)

    def loss(self, module: nn.Module, batch: mw.Batch) -> Tensor:
        return F.cross_entropy(module(*batch.inputs), batch.targets)

    def random_batch(self, units: int, first: int, generator: torch.Generator) -> mw.Batch:
        inputs = torch.randn(units, *self.shape, generator=generator)
        labels = torch.randint(10, (units,), generator=generator)
        return mw.Batch((inputs,), labels, torch.arange(first, first + units))


@dataclass(frozen=True)
class Sentences:
    """Sentence pairs of 16 to 20 pieces, eos counted, out of a joint vocabulary of 4,000; Adam."""

    model: str
    batch: int = 64
    described: str = "sentence pairs of 16 to 20 pieces, vocabulary 4,000"
    fast_layout: str = "contiguous"
    convolutions: bool = False

    def module(self) -> nn.Module:
        return build_translator(self.model, source_size=4000, target_size=4000)

    def student(self, module: nn.Module, **options: Any) -> mw.Student:
        return mw.Student(module, TokenCrossEntropy(PADDING, 0.1), **options)

    def optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        # a cold Adam step has no usable derivative, and eps keeps the first ones tame
        return torch.optim.Adam(parameters, lr=1e-3, betas=(0.9, 0.98), eps=1e-6)

    def loss(self, module: nn.Module, batch: mw.Batch) -> Tensor:
        logits = module(*batch.inputs).flatten(0, 1)
        return F.cross_entropy(logits, batch.targets.flatten(), ignore_index=PADDING, label_smoothing=0.1)

    def random_batch(self, units: int, first: int, generator: torch.Generator) -> mw.Batch:
        source, target = self._padded(units, generator), self._padded(units, generator)
        kept = target.where(target != EOS, PADDING)[:, :-1]
        shifted = F.pad(kept, (1, 0), value=BOS)
        return mw.Batch((source, shifted), target, torch.arange(first, first + units))

    def _padded(self, units: int, generator: torch.Generator) -> Tensor:
        sizes = torch.randint(15, 20, (units, 1), generator=generator)
        place = torch.arange(20)
        pieces = torch.randint(EOS + 1, 4000, (units, 20), generator=generator)
        return pieces.where(place < sizes, PADDING).where(place != sizes, EOS)


def perceptron() -> nn.Module:
    """784-512-512-10, 0.67 M parameters."""
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


LENGTHS, VOCABULARIES = (16, 32, 64, 128, 256), (1000, 4000, 16000, 50000)
"""Of language models of two layers, ``lm-tLENGTH`` and ``lm-vVOCABULARY``."""
OWN: Mapping[str, Subject] = {
    "mlp": Classified(perceptron, (784,), "vectors of 784, 10 classes"),
    "lm-small": Language(),
    **{f"lm-t{length}": Language(2, length=length) for length in LENGTHS},
    **{f"lm-v{size}": Language(2, vocabulary=size) for size in VOCABULARIES},
}


def subject(model: str) -> Subject:
    """The kind of student that ``model`` is, one of benchmarks.models by ``Sized.name``.

    Raises KeyError for an unknown one, with the nearest name.
    """
    if model.startswith("hf:"):
        from benchmarks.models.sized import Sized

        return Sized.named(model)
    if model in OWN:
        return OWN[model]
    if model in models:
        build = partial(build_model, model, classes=10, channels=3, size=32)
        return Classified(build, (3, 32, 32), "3x32x32 images of 10 classes")
    if model in translators:
        return Sentences(model)
    known = (*OWN, *models.names(), *translators.names())
    raise KeyError(f"unknown model {model!r}.{did_you_mean(model, known)}")
