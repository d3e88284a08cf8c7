"""The Student: taps, unit losses, refusals; losses one can check by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from students import BatchNormResNet, Recurrent, batch
from torch import Tensor, nn

import metaweight as mw
from metaweight.student.losses import cross_entropy, token_cross_entropy
from metaweight.student.taps import pool


def test_taps_are_pooled_over_space_and_time_in_the_order_of_the_taps() -> None:
    torch.manual_seed(0)
    module = BatchNormResNet().double()
    one = batch((1, 4, 4), 6, 1)
    student = mw.Student(module, taps=("head", "stem"))
    state = student(one).state(0.25)
    assert list(state.features) == ["head", "stem"]
    torch.testing.assert_close(state.features["stem"], module.stem(one.inputs[0]).mean((2, 3)).detach())
    assert torch.equal(state.features["head"], state.outputs)
    assert state.progress == 0.25
    assert torch.equal(state.index, one.index)
    assert torch.equal(state.size, torch.ones(6).double())
    recurrent = Recurrent().double()
    x = batch((3, 8), 4, 2)
    over_time = mw.Student(recurrent, taps=("rnn",))(x).features["rnn"]
    torch.testing.assert_close(over_time, recurrent.rnn(x.inputs[0])[0].mean(1))


def test_spec_measures_without_a_trace() -> None:
    module = BatchNormResNet().double()
    before, random = [b.clone() for b in module.buffers()], torch.get_rng_state()
    spec = mw.Student(module, taps=("bn2", "head")).spec(batch((1, 4, 4), 3, 1), class_counts=[4, 5, 6])
    assert dict(spec.features) == {"bn2": 3, "head": 3}
    assert (spec.classes, spec.dtype, spec.class_counts) == (3, torch.float64, (4, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(before, module.buffers(), strict=True))
    assert torch.equal(random, torch.get_rng_state())
    assert not any(m._forward_hooks for m in module.modules())


def test_functional_runs_on_other_parameters_and_moves_the_given_buffers_only() -> None:
    torch.manual_seed(0)
    module, other = BatchNormResNet().double(), BatchNormResNet().double()
    student, one = mw.Student(module), batch((1, 4, 4), 6, 1)
    live = {k: v.clone() for k, v in module.state_dict().items()}
    buffers = {k: v.clone() for k, v in other.named_buffers()}
    loss = student.functional(one, dict(other.named_parameters()), buffers).loss
    torch.testing.assert_close(loss, mw.Student(other)(one).loss)
    assert all(torch.equal(v, live[k]) for k, v in module.state_dict().items())
    assert all(torch.equal(v, buffers[k]) for k, v in other.named_buffers())


def test_refusals() -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(KeyError, match=r"unknown tap '1'"):
        mw.Student(module, taps=("1",))
    with pytest.raises(TypeError, match="taps is a sequence of names"):
        mw.Student(module, taps="0")
    with pytest.raises(ValueError, match="no trainable parameter"):
        mw.Student(nn.Linear(2, 2).requires_grad_(False))
    with pytest.raises(ValueError, match=r"shape \[6\], got \(\).*reduction='none'"):
        mw.Student(module, loss=nn.functional.cross_entropy)(batch((4,), 6, 1, dtype=torch.float32))

    class Skips(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.idle = nn.Linear(2, 2)

    with pytest.raises(ValueError, match="'idle' is never called"):
        mw.Student(Skips(), taps=("idle",))(batch((4,), 6, 1, dtype=torch.float32))
    for bad in (torch.zeros(3), "text"):
        with pytest.raises(ValueError, match="two dimensions or more"):
            pool(bad)


@pytest.mark.parametrize(
    ("inputs", "targets", "index", "message"),
    [
        ((torch.zeros(2, 3),), torch.zeros(3), torch.arange(2), "targets have"),
        ((torch.zeros(3, 3),), torch.zeros(2), torch.arange(2), r"inputs\[0\] has shape \(3, 3\)"),
        ((torch.zeros(2, 3),), torch.zeros(2), torch.zeros(2, 1), "shape \\[U\\]"),
        ((torch.zeros(0, 3),), torch.zeros(0), torch.arange(0), "at least one sample"),
    ],
)
def test_batches_whose_lengths_differ_are_refused(
    inputs: tuple[Tensor], targets: Tensor, index: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mw.Batch(inputs, targets, index)


def test_inputs_are_a_tuple() -> None:
    with pytest.raises(TypeError, match=r"write \(x,\)"):
        mw.Batch(torch.zeros(2, 3), torch.zeros(2), torch.arange(2))  # type: ignore[arg-type]


def test_an_index_holds_positions() -> None:
    with pytest.raises(TypeError, match=r"holds positions, int64, got torch\.float32"):
        mw.Batch((torch.zeros(2, 3),), torch.zeros(2), torch.zeros(2))


@pytest.mark.parametrize(
    ("outputs", "targets", "kind", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2), TypeError, r"one class each, got torch\.float32 of shape \(2,\)"),
        (torch.zeros(2, 3), torch.zeros(2, 1).long(), ValueError, r"got torch\.int64 of shape \(2, 1\)"),
        ((torch.zeros(2, 3), None), torch.zeros(2).long(), TypeError, "gives tuple where logits"),
    ],
)
def test_what_is_no_class_is_named(
    outputs: Any, targets: Tensor, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        cross_entropy(outputs, targets)


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]], dtype=torch.float64)
    loss = cross_entropy(logits, torch.tensor([0, 1]))
    by_hand = torch.tensor([math.log(2), math.log(4)], dtype=torch.float64)
    torch.testing.assert_close(loss, by_hand, rtol=1e-12, atol=0)


def test_token_cross_entropy_by_hand_with_padding() -> None:
    """Three sentences of two tokens and five words; the padding word is 4."""
    logits = torch.zeros(3, 2, 5).double()
    logits[0, 0, 1] = math.log(4)  # p = 4/8 for word 1
    targets = torch.tensor([[1, 2], [3, 4], [0, 0]])
    loss, size = token_cross_entropy(logits, targets, padding=4)
    by_hand = [math.log(2) + math.log(5), math.log(5), 2 * math.log(5)]
    expected = torch.tensor(by_hand, dtype=torch.float64)
    torch.testing.assert_close(loss, expected * 3 / 5, rtol=1e-12, atol=0)
    assert size.tolist() == [2, 1, 2]
    plain = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=4)
    torch.testing.assert_close(loss.mean(), plain, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="at least one real token"):
        token_cross_entropy(logits, torch.full((3, 2), 4), padding=4)
