"""Tabular models: rows alone, codes that were never trained, taps, and the ghost engine's exact slopes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import metaweight as mw
from metaweight.models.tabular import (
    TabularMLP,
    build_tabular,
    default_tabular_taps,
    tabular_models,
    tabular_options,
)
from metaweight.student.losses import cross_entropy

NAMES = tabular_models.names()


def rows(count: int = 7) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    numbers = torch.randn(count, 3, generator=g, dtype=torch.float64)
    return numbers, torch.randint(0, 4, (count, 2), generator=g)


def built(name: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_tabular(name, numbers=3, cardinalities=(4, 5), outputs=3, **options).double().eval()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_rows_beside_it(name: str) -> None:
    model, (numbers, codes) = built(name), rows()
    together = model(numbers, codes)
    assert together.shape == (7, 3)
    for i in range(7):
        alone = model(numbers[i : i + 1], codes[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_tap_is_what_the_head_reads(name: str) -> None:
    model = built(name, width=12, depth=3)
    seen: list[Tensor] = []
    model.get_submodule(default_tabular_taps(name)[-1]).register_forward_hook(
        lambda _m, _i, out: seen.append(out)
    )
    outputs = model(*rows())
    assert seen[0].shape == (7, 12)
    torch.testing.assert_close(model.head(seen[0]), outputs)


@pytest.mark.parametrize("name", NAMES)
def test_ghost_has_the_slopes_of_higher(name: str) -> None:
    model = built(name, dropout=0.2).train()
    student = mw.Student(model, cross_entropy, taps=default_tabular_taps(name))
    batch = mw.Batch(rows(), torch.tensor([0, 1, 2, 0, 1, 2, 0]), torch.arange(7))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weights = torch.ones(7, dtype=torch.float64, requires_grad=True)
    slopes = {}
    for engine in ("higher", "ghost"):
        torch.manual_seed(3)
        solved = mw.hypergradient(
            student, optimizer, batch, batch, lambda _: weights, [weights], engine=engine
        )
        slopes[engine] = solved.grads[0]
    assert bool(slopes["higher"].abs().min() > 0)
    torch.testing.assert_close(slopes["ghost"], slopes["higher"], rtol=1e-9, atol=1e-14)


def test_codes_that_training_never_shows_say_nothing_and_columns_share_no_code() -> None:
    model = built("tabular-mlp")
    numbers, _ = rows(1)
    first = [model(numbers, torch.tensor([[code, 2]])) for code in (0, 1, 2)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    table = model.row.codes.weight
    (slopes,) = torch.autograd.grad(model(numbers, torch.tensor([[2, 3]])).sum(), table)
    assert slopes.any(dim=1).nonzero().flatten().tolist() == [2, 4 + 3]
    assert sum(p.numel() for p in model.row.parameters()) == 9 * tabular_options("tabular-mlp")["embedding"]


def test_tables_of_numbers_alone_and_of_categories_alone() -> None:
    numbers, codes = torch.randn(4, 2), torch.zeros(4, 1, dtype=torch.int64)
    assert TabularMLP(2, (), 1)(numbers, codes[:, :0]).shape == (4, 1)
    assert TabularMLP(0, (3,), 1)(numbers[:, :0], codes).shape == (4, 1)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("tabular-mpl", {}, KeyError, "Did you mean 'tabular-mlp'"),
        ("tabular-mlp", {"widht": 3}, TypeError, "Did you mean 'width'"),
        ("tabular-resnet", {"depth": 0}, ValueError, "depth >= 1, got 0"),
        ("tabular-mlp", {"dropout": 1.0}, ValueError, r"\[0, 1\), got 1.0"),
        ("tabular-mlp", {"embedding": 0}, ValueError, "embedding is 1 or more, got 0"),
        ("tabular-mlp", {"numbers": 0, "cardinalities": ()}, ValueError, "needs a column or more"),
    ],
)
def test_mistakes_are_named(name: str, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build_tabular(name, **{"numbers": 1, "cardinalities": (), "outputs": 2, **options})


def test_default_taps_of_a_foreign_model() -> None:
    with (
        tabular_models.temporarily("foreign", TabularMLP),
        pytest.raises(ValueError, match="name some of its submodules"),
    ):
        default_tabular_taps("foreign")
