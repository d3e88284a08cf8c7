"""Whole runs of a tiny translator and a tiny GPT-2: central differences of runs written out, in float64."""

from __future__ import annotations

from dataclasses import replace

import hugging_face_models
import pytest
from hugging_face_models import sequence_losses, text
from slowly import slowly
from torch import Tensor, nn
from whole_runs import Case, Rows, off
from whole_translations import translator

import metaweight as mw


@pytest.mark.parametrize(
    ("optimizer", "epochs"), [("adamw", 2), *slowly(("sgd", 10), ("adam", 50), ("adamw", 50))]
)
def test_a_translator_with_dropout_and_smoothing(optimizer: str, epochs: int) -> None:
    assert off(translator(optimizer, epochs=epochs)) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [4, 50])
def test_a_language_model_of_hugging_face(epochs: int) -> None:
    transformers = pytest.importorskip("transformers")
    known = hugging_face_models.CASES["gpt2"]
    model = known.model(transformers)

    def batch(count: int, seed: int) -> mw.Batch:
        return known.batch(model, text(count, seed), list(range(count)))

    def build() -> nn.Module:
        return hugging_face_models.gpt2(transformers, dropout=0.1)  # type: ignore[no-any-return]

    class Model(Case):
        def _losses(self, module: nn.Module, batch: mw.Batch) -> Tensor:
            return sequence_losses(batch.call(module), batch.targets)

    plain = Model(build, Rows(batch(24, 1)), batch(5, 2), "adamw", epochs=epochs, loss=sequence_losses)
    assert off(replace(plain)) <= 1e-6
