"""Cross-entropy in pieces against torch's own, of all rows at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from metaweight.core import pieces
from metaweight.student.losses import TokenCrossEntropy
from metaweight.student.losses import rows as by_rows
from metaweight.student.losses.rows import cross_entropy_of_rows

ROWS, CLASSES, IGNORED = 70, 9, 2
Loss = Callable[[Tensor], Tensor]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGE", 0)
    monkeypatch.setattr(pieces, "PIECE", 16 * CLASSES)


def case(kind: str, dtype: torch.dtype) -> tuple[Tensor, Loss, Loss]:
    """Logits, the loss of them in pieces, and torch's."""
    g = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(ROWS, CLASSES, generator=g, dtype=torch.float64).to(dtype)
    targets = torch.randint(0, CLASSES, (ROWS,), generator=g)
    where = (torch.rand(ROWS, generator=g) > 0.3).nonzero().squeeze(1)
    if kind == "pixels":
        images, labels = logits.view(7, 10, CLASSES).transpose(1, 2), targets.view(7, 10)
        return (
            images.unflatten(2, (2, 5)).contiguous(),
            lambda x: cross_entropy_of_rows(x, labels.view(7, 2, 5), ignore_index=IGNORED),
            lambda x: F.cross_entropy(x, labels.view(7, 2, 5), reduction="none", ignore_index=IGNORED),
        )
    if kind == "soft":
        shares = torch.rand(ROWS, CLASSES, generator=g, dtype=torch.float64).softmax(dim=1).to(dtype)
        return (
            logits,
            lambda x: cross_entropy_of_rows(x, shares, smoothing=0.1),
            lambda x: F.cross_entropy(x, shares, reduction="none", label_smoothing=0.1),
        )
    if kind == "picked":
        return (
            logits,
            lambda x: cross_entropy_of_rows(x, targets[where], where=where, smoothing=0.2),
            lambda x: F.cross_entropy(x[where], targets[where], reduction="none", label_smoothing=0.2),
        )
    options = {"plain": (-100, 0.0), "padded": (IGNORED, 0.0), "smooth": (IGNORED, 0.3)}[kind]
    return (
        logits,
        lambda x: cross_entropy_of_rows(x, targets, ignore_index=options[0], smoothing=options[1]),
        lambda x: F.cross_entropy(
            x, targets, reduction="none", ignore_index=options[0], label_smoothing=options[1]
        ),
    )


def of_both(kind: str, dtype: torch.dtype, found: Callable[[Tensor, Tensor], Any]) -> list[Any]:
    """``found(loss, logits)`` of the loss in pieces and of torch's, each by logits of its own."""
    logits, *losses = case(kind, dtype)
    own = [logits.clone().requires_grad_() for _ in losses]
    return [found(loss_of(x), x) for loss_of, x in zip(losses, own, strict=True)]


KINDS = pytest.mark.parametrize("kind", ["plain", "padded", "smooth", "picked", "pixels", "soft"])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def like(value: Tensor, seed: int) -> Tensor:
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        value
    )


@KINDS
@DTYPES
def test_loss_and_gradient_are_torchs_to_the_last_bit(kind: str, dtype: torch.dtype) -> None:
    def found(loss: Tensor, x: Tensor) -> list[Tensor]:
        first = torch.autograd.grad(loss, x, like(loss, 5), retain_graph=True)
        again = torch.autograd.grad(loss, x, 2 * like(loss, 6))
        return [loss.detach(), *first, *again]

    assert all(map(torch.equal, *of_both(kind, dtype, found)))


@KINDS
@DTYPES
def test_so_is_the_second_derivative(kind: str, dtype: torch.dtype) -> None:
    def found(loss: Tensor, x: Tensor) -> list[Tensor]:
        scale = like(loss, 5).requires_grad_()
        (gradient,) = torch.autograd.grad(loss, x, scale, create_graph=True)
        return [gradient.detach(), *torch.autograd.grad(gradient, (scale, x), like(x, 7))]

    assert all(map(torch.equal, *of_both(kind, dtype, found)))


@KINDS
def test_a_third_derivative_is_torchs(kind: str) -> None:
    def found(loss: Tensor, x: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(loss.square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first * like(x, 7)).sum(), x, create_graph=True)
        return torch.autograd.grad((second * like(x, 8)).sum(), x)[0]

    torch.testing.assert_close(*of_both(kind, torch.float64, found), rtol=1e-12, atol=1e-12)


@KINDS
@DTYPES
@pytest.mark.parametrize("graph", [False, True])
def test_so_is_forward_mode(kind: str, dtype: torch.dtype, graph: bool) -> None:
    logits, ours, theirs = case(kind, dtype)
    found = []
    for loss_of in (ours, theirs):
        with torch.set_grad_enabled(graph), forward_ad.dual_level():
            x = logits.clone().requires_grad_(graph)
            found.append(forward_ad.unpack_dual(loss_of(forward_ad.make_dual(x, like(x, 9)))))
    (loss, tangent), (loss_there, tangent_there) = found
    assert torch.equal(loss, loss_there)
    assert torch.equal(tangent, tangent_there)


@KINDS
def test_a_backward_inside_of_an_autocast_is_that_of_the_forward(kind: str) -> None:
    def found(loss: Tensor, x: Tensor) -> Tensor:
        total = loss.sum()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return torch.autograd.grad(total, x)[0]

    assert torch.equal(*of_both(kind, torch.bfloat16, found))


@pytest.mark.parametrize("kind", ["padded", "picked", "pixels", "soft"])
def test_what_looks_into_the_calls_sees_torchs_own(kind: str) -> None:
    logits, ours, theirs = case(kind, torch.float32)

    def total(loss_of: Loss) -> Loss:
        return lambda x: loss_of(x).square().sum()

    torch.testing.assert_close(torch.func.grad(total(ours))(logits), torch.func.grad(total(theirs))(logits))
    several = torch.stack([logits, logits.flip(1)])
    assert torch.equal(torch.func.vmap(ours)(several), torch.func.vmap(theirs)(several))
    assert torch.equal(torch.compile(ours, backend="eager", fullgraph=True)(logits), theirs(logits))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(logits.bfloat16()), theirs(logits.bfloat16()))


def test_a_walk_that_does_not_go_to_the_logits_makes_no_gradient_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, ours, theirs = case("padded", torch.float64)
    wanted: list[list[bool]] = []
    second = by_rows._Rows.second

    def seen(self: by_rows._Rows, *args: object) -> list[Tensor | None]:
        wanted.append(args[3])  # type: ignore[arg-type]
        return second(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(by_rows._Rows, "second", seen)
    found = []
    for loss_of in (ours, theirs):
        leaf, weights = (
            logits.clone().requires_grad_(),
            torch.ones(ROWS, dtype=torch.float64).requires_grad_(),
        )
        (gradient,) = torch.autograd.grad((weights * loss_of(2 * leaf)).mean(), leaf, create_graph=True)
        found.append(torch.autograd.grad(gradient, weights, like(leaf, 4))[0])
    assert torch.equal(*found)
    assert wanted == [[True, False]]


def test_rows_that_do_not_fit_are_refused_as_by_torch() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        cross_entropy_of_rows(torch.zeros(ROWS, CLASSES), torch.zeros(ROWS - 1, dtype=torch.int64))
    with pytest.raises(IndexError, match="out of bounds"):
        cross_entropy_of_rows(torch.zeros(ROWS, CLASSES), torch.full((ROWS,), CLASSES))
    with pytest.raises(RuntimeError, match="size mismatch"):
        cross_entropy_of_rows(torch.zeros(7, CLASSES, 2, 5), torch.zeros(7, 5, 2, dtype=torch.int64))


def test_shares_that_are_learnt_get_a_gradient() -> None:
    logits, shares = torch.zeros(ROWS, CLASSES), torch.full((ROWS, CLASSES), 1 / CLASSES, requires_grad=True)
    found = torch.autograd.grad(cross_entropy_of_rows(logits, shares).sum(), shares)[0]
    theirs = F.cross_entropy(logits, shares, reduction="none").sum()
    assert torch.equal(found, torch.autograd.grad(theirs, shares)[0])


def test_logits_that_were_changed_since_are_refused() -> None:
    logits, ours, _ = case("plain", torch.float32)
    x = logits.clone().requires_grad_() * 1
    loss = ours(x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.sum().backward()


@pytest.mark.parametrize("large", [False, True])
def test_logits_of_padding_do_not_count_even_where_they_are_nan(
    monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr(pieces, "LARGE", 0 if large else 1000)
    targets = torch.tensor([[1, 2, 0], [3, 0, 0]])
    logits = like(torch.zeros(2, 3, 5, dtype=torch.float64), 1).requires_grad_()
    with torch.no_grad():
        logits[targets == 0] = torch.nan
    units = TokenCrossEntropy(unit="token")(logits, targets)
    (gradient,) = torch.autograd.grad(units.loss.mean(), logits)
    real = targets != 0
    assert torch.equal(gradient[~real], torch.zeros(3, 5, dtype=torch.float64))
    p = logits.detach()[real].softmax(dim=1)
    torch.testing.assert_close(gradient[real], (p - F.one_hot(targets[real], 5)) / 3, rtol=1e-12, atol=1e-14)
