"""Translators by name: sizes counted by hand, taps that exist and are called, options over presets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from metaweight.models.translators import (
    build_translator,
    default_translator_taps,
    translator_options,
    translators,
)


@pytest.mark.parametrize("name", translators.names())
def test_parameter_counts_by_hand(name: str) -> None:
    o = translator_options(name)
    d, f, sizes = o["width"], o["feedforward"], {"source_size": 1000, "target_size": 1000}
    mlp, attention, norm = 2 * d * f + f + d, 4 * d * (d + 1), 2 * d
    count = o["encoder_layers"] * (attention + mlp + 2 * norm)
    count += o["decoder_layers"] * (2 * attention + mlp + 3 * norm)
    count += (2 * norm if o["norm"] == "pre" else 0) + 1000 * d * {"all": 1, "decoder": 2}[o["tie"]]
    with torch.device("meta"):
        assert sum(p.numel() for p in build_translator(name, **sizes).parameters()) == count


@pytest.mark.parametrize("name", translators.names())
def test_default_taps_are_called_once_and_give_a_state_per_position(name: str) -> None:
    taps = default_translator_taps(name)
    seen: list[tuple[str, torch.Size]] = []
    with torch.device("meta"):
        model = build_translator(name, source_size=50, target_size=50)
        for tap in taps:
            model.get_submodule(tap).register_forward_hook(
                lambda _module, _inputs, output, tap=tap: seen.append((tap, output.shape))
            )
        model(torch.ones(2, 5, dtype=torch.int64), torch.ones(2, 7, dtype=torch.int64))
    width = translator_options(name)["width"]
    assert seen == [(tap, (2, 5 if tap.startswith("encoder") else 7, width)) for tap in taps]
    assert taps[-1] == f"decoder.layers.{translator_options(name)['decoder_layers'] - 1}"


def test_middle_taps_follow_the_number_of_layers() -> None:
    taps = default_translator_taps("transformer-tiny", encoder_layers=3, decoder_layers=1)
    assert taps == ("encoder.layers.1", "encoder.layers.2", "decoder.layers.0")


def test_options_override_the_preset() -> None:
    model = build_translator("transformer-tiny", source_size=9, target_size=8, tie="decoder", dropout=0.4)
    assert model.head.weight is model.decoder.embedding.weight
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.4}
    assert translator_options("transformer-iwslt")["dropout"] == 0.3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: build_translator("transformer-tini", source_size=9, target_size=9), KeyError, "er-tiny'"),
        (
            lambda: build_translator("transformer-tiny", source_size=9, target_size=9, droput=0.1),
            TypeError,
            "Did you mean 'dropout'",
        ),
        (lambda: default_translator_taps("transformer"), KeyError, "unknown translator"),
    ],
)
def test_mistakes_are_named(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
