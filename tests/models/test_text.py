"""Text models and taggers: padding and the batch change nothing; taps, and the ghost engine's slopes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

import metaweight as mw
from metaweight.models.text import (
    Kind,
    build_text,
    default_text_taps,
    tagger_time_axes,
    taggers,
    text_model_options,
    text_models,
    text_time_axes,
)
from metaweight.student.losses import TokenCrossEntropy, cross_entropy

CASES = [*((text_models, name) for name in text_models.names()), *((taggers, n) for n in taggers.names())]
every_model = pytest.mark.parametrize(("kind", "name"), CASES, ids=[name for _, name in CASES])
LENGTHS = (1, 4, 2, 3, 4)
TINY = {"text-bag": {"embedding": 8, "width": 6}, "text-transformer": {"width": 8, "feedforward": 6}}
TINY |= {"tagger-window": {"width": 8}, "tagger-transformer": {"width": 8, "feedforward": 6}}


def ids(kind: Kind, more: int = 0) -> Tensor:
    """Texts of ``LENGTHS`` with ``more`` columns of padding; of a tagger 1 to 3 ids a token."""
    g = torch.Generator().manual_seed(1)
    rows = torch.zeros(len(LENGTHS), max(LENGTHS) + more, 3, dtype=torch.int64)
    for row, length in enumerate(LENGTHS):
        for token in range(length):
            count = 1 + (row + token) % 3
            rows[row, token, :count] = torch.randint(1, 9, (count,), generator=g)
    return rows if kind is taggers else rows[..., 0]


def targets(kind: Kind, more: int = 0) -> Tensor:
    if kind is text_models:
        return torch.tensor([0, 1, 2, 0, 1])
    labels = torch.full((len(LENGTHS), max(LENGTHS) + more), -100)
    for row, length in enumerate(LENGTHS):
        labels[row, :length] = torch.arange(row, row + length) % 3
    return labels


def batch(kind: Kind, more: int = 0) -> mw.Batch:
    return mw.Batch((ids(kind, more),), targets(kind, more), torch.arange(len(LENGTHS)))


def built(kind: Kind, name: str, dropout: float = 0.0) -> torch.nn.Module:
    torch.manual_seed(0)
    options: dict[str, Any] = {**TINY[name], "dropout": dropout}
    if "word_dropout" in text_model_options(kind, name):
        options["word_dropout"] = dropout
    return build_text(kind, name, vocabulary=9, outputs=3, **options).double()


def student(kind: Kind, name: str, unit: str = "token", dropout: float = 0.0) -> mw.Student:
    loss = cross_entropy if kind is text_models else TokenCrossEntropy(-100, unit=unit)
    axes = text_time_axes if kind is text_models else tagger_time_axes
    module = built(kind, name, dropout)
    layers = ("encoder.layers.0",) if "transformer" in name else ()
    return mw.Student(module, loss, taps=(*layers, *default_text_taps(kind, name)), time_axes=axes)


@every_model
@pytest.mark.parametrize("unit", ["sentence", "token"])
def test_padding_changes_no_output_tap_loss_or_weight(kind: Kind, name: str, unit: str) -> None:
    ours = student(kind, name, unit)
    states = [ours(batch(kind, more)) for more in (0, 3)]
    torch.testing.assert_close(states[0].loss, states[1].loss, rtol=0, atol=1e-13)
    for one, other in zip(*(state.features.values() for state in states), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)
    first, second = states[0].outputs, states[1].outputs
    if kind is taggers:
        real = targets(kind) != -100
        first, second = first[real], second[:, : max(LENGTHS)][real]
    torch.testing.assert_close(first, second, rtol=0, atol=1e-13)
    slopes = [weight_slopes(ours, batch(kind, more), "auto") for more in (0, 3)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-9, atol=1e-15)


@every_model
def test_what_padding_embeds_changes_nothing(kind: Kind, name: str) -> None:
    model = built(kind, name)
    real = slice(None) if kind is text_models else targets(kind) != -100
    before = model(ids(kind))[real]
    table = next(p for n, p in model.named_parameters() if n.endswith(("embedding.weight", "ids.weight")))
    assert table.shape[0] == 9
    assert not table[0].any()
    with torch.no_grad():
        table[0] = 7.0
    assert torch.equal(model(ids(kind))[real], before)


@every_model
def test_a_row_does_not_depend_on_the_rows_beside_it(kind: Kind, name: str) -> None:
    model, texts = built(kind, name), ids(kind)
    together = model(texts)
    for row, length in enumerate(LENGTHS):
        alone = model(texts[row : row + 1, :length])[0]
        shown = together[row] if kind is text_models else together[row, :length]
        torch.testing.assert_close(alone, shown, rtol=0, atol=1e-13)


def weight_slopes(ours: mw.Student, rows: mw.Batch, engine: str) -> Tensor:
    optimizer = torch.optim.SGD(ours.module.parameters(), lr=0.1)
    units = len(ours(rows).loss)
    weights = torch.ones(units, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(3)
    solved = mw.hypergradient(ours, optimizer, rows, rows, lambda _: weights, [weights], engine=engine)
    return solved.grads[0]


@every_model
def test_ghost_has_the_slopes_of_higher(kind: Kind, name: str) -> None:
    ours = student(kind, name, "sentence", dropout=0.2)
    ours.module.train()
    slopes = {engine: weight_slopes(ours, batch(kind), engine) for engine in ("higher", "ghost")}
    assert bool(slopes["higher"].abs().min() > 0)
    torch.testing.assert_close(slopes["ghost"], slopes["higher"], rtol=1e-9, atol=1e-14)


@every_model
def test_the_last_tap_is_what_the_head_reads(kind: Kind, name: str) -> None:
    model, seen = built(kind, name), []
    model.get_submodule(default_text_taps(kind, name)[-1]).register_forward_hook(
        lambda _m, _i, out: seen.append(out)
    )
    outputs = model(ids(kind))
    torch.testing.assert_close(model.head(seen[0]), outputs)


def test_a_tagger_takes_ids_of_one_a_token() -> None:
    model = built(taggers, "tagger-window")
    one = ids(taggers)[..., 0]
    assert torch.equal(model(one), model(one[..., None]))


def test_a_window_reaches_as_far_as_it_says() -> None:
    torch.manual_seed(0)
    model = build_text(taggers, "tagger-window", vocabulary=9, outputs=2, depth=2, reach=2).eval()
    texts = torch.arange(1, 9).repeat(2, 1)
    texts[1, 7] = 3
    one, other = model(texts)
    assert torch.equal(one[:3], other[:3])
    assert not torch.equal(one[3], other[3])


@pytest.mark.parametrize(
    ("kind", "name", "options", "error", "message"),
    [
        (text_models, "text-bg", {}, KeyError, "Did you mean 'text-bag'"),
        (text_models, "text-bag", {"widht": 3}, TypeError, "Did you mean 'width'"),
        (text_models, "text-bag", {"word_dropout": 1.0}, ValueError, "word_dropout is a probability"),
        (text_models, "text-transformer", {"width": 7}, ValueError, "width is even, got 7"),
        (text_models, "text-transformer", {"layers": 0}, ValueError, "layers >= 1, got 0"),
        (taggers, "tagger-windows", {}, KeyError, "unknown tagger 'tagger-windows'"),
        (taggers, "tagger-window", {"reach": 0}, ValueError, "reach >= 1, got 0"),
    ],
)
def test_mistakes_are_named(
    kind: Kind, name: str, options: Mapping[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_text(kind, name, vocabulary=9, outputs=2, **options)


def test_default_taps_of_a_foreign_model() -> None:
    with (
        text_models.temporarily("foreign", text_models["text-bag"]),
        pytest.raises(ValueError, match="name some of its submodules"),
    ):
        default_text_taps(text_models, "foreign")
