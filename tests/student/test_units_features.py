"""Features of a sentence or a token: means without padding, a token's own state, taps that are refused."""

from __future__ import annotations

import math

import pytest
import torch
from sentence_students import axes, build, sentences
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.contracts import Batch
from metaweight.student.taps import TimeAxis, pool

DOUBLE = torch.float64
UNITS = ["sentence", "token"]


def test_a_token_has_its_own_decoder_state_and_the_mean_of_its_source() -> None:
    batch, student = sentences(), build("token")
    state, module = student(batch).state(), student.module
    source, shifted = batch.inputs
    unit = 0
    for row in range(3):
        words = [word for word in source[row].tolist() if word != 0]
        mean = sum(module.source.weight[word] for word in words) / len(words)
        for t in range(int((batch.targets[row] != 0).sum())):
            torch.testing.assert_close(state.features["encoder"][unit], mean, rtol=1e-12, atol=1e-15)
            assert torch.equal(state.features["decoder"][unit], module.target.weight[shifted[row, t]])
            assert float(state.lengths["encoder"][unit]) == len(words)
            unit += 1
    assert unit == len(state)
    assert set(state.lengths) == {"encoder"}


def test_sentences_have_the_means_over_their_real_positions() -> None:
    batch, student = sentences(), build("sentence")
    state, module = student(batch).state(), student.module
    for tap, embedding, ids in (
        ("encoder", module.source, batch.inputs[0]),
        ("decoder", module.target, batch.inputs[1]),
    ):
        for row in range(3):
            words = [word for word in ids[row].tolist() if word != 0]
            mean = sum(embedding.weight[word] for word in words) / len(words)
            torch.testing.assert_close(state.features[tap][row], mean, rtol=1e-12, atol=1e-15)
    assert state.lengths["encoder"].tolist() == [3, 2, 4]
    assert state.lengths["encoder"].dtype == state.size.dtype == DOUBLE
    assert state.size.tolist() == [2, 3, 1]
    assert torch.equal(state.index, batch.index)
    assert torch.equal(state.targets, batch.targets)
    assert torch.equal(state.real, batch.targets != 0)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf, 1e300])
def test_what_stands_at_padding_changes_no_feature(unit: str, fill: float) -> None:
    clean, spoilt = (build(unit, fill=value)(sentences()).state() for value in (0.0, fill))
    for tap in ("encoder", "decoder"):
        assert torch.equal(clean.features[tap], spoilt.features[tap])
    assert torch.equal(clean.loss, spoilt.loss)


def test_the_mean_over_real_positions_keeps_the_dtype_and_leaves_an_empty_row_zero() -> None:
    real = torch.tensor([[True, False, True], [False, False, False]])
    for dtype in (torch.bfloat16, torch.float32, DOUBLE):
        value = torch.arange(12, dtype=dtype).view(2, 3, 2)
        assert torch.equal(pool(value, real), torch.tensor([[2.0, 3.0], [0.0, 0.0]], dtype=dtype))


@pytest.mark.parametrize("unit", UNITS)
def test_a_padded_tap_whose_real_positions_nobody_named_is_refused(unit: str) -> None:
    for time_axes in (None, lambda _tap, _batch: None):
        with pytest.raises(ValueError, match=r"'encoder' runs over time.*time_axes="):
            build(unit, time_axes=time_axes)(sentences())
    with pytest.raises(ValueError, match=r"'decoder' runs over time"):
        build(unit, time_axes=lambda tap, batch: axes(tap, batch) if tap == "encoder" else None)(sentences())


@pytest.mark.parametrize("unit", UNITS)
def test_a_tap_without_time_needs_no_axis(unit: str) -> None:
    state = build(unit, taps=("pooled",), time_axes=None)(sentences()).state()
    module = build(unit).module
    rows = [0, 1, 2] if unit == "sentence" else [0, 0, 1, 1, 1, 2]
    assert torch.equal(state.features["pooled"], module.source.weight[sentences().inputs[0][rows, 0]])


def test_masks_that_do_not_fit_are_refused() -> None:
    batch = sentences()
    with pytest.raises(ValueError, match=r"TimeAxis.real is bool.*got torch.int64.*mask.bool\(\)"):
        TimeAxis((batch.targets != 0).long())
    with pytest.raises(ValueError, match=r"shape \(3, 4, 3\) has its time axis described by \(3, 2\)"):
        build("sentence", time_axes=lambda *_: TimeAxis(torch.ones(3, 2, dtype=torch.bool)))(batch)
    on_target = TimeAxis(batch.inputs[0] != 0, of_targets=True)
    with pytest.raises(ValueError, match=r"'encoder' is said to run over the targets"):
        build("token", taps=("encoder",), time_axes=lambda *_: on_target)(batch)


def test_a_tap_whose_first_dimension_is_time_is_refused() -> None:
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(2, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x.transpose(0, 1))[0][-1])

    batch = Batch((torch.randn(4, 5, 2),), torch.zeros(4, dtype=torch.int64), torch.arange(4))
    with pytest.raises(ValueError, match=r"'rnn' gives shape \(5, 4, 3\) for 4 samples.*batch_first"):
        mw.Student(TimeFirst(), taps=("rnn",))(batch)


def test_a_tap_shows_what_its_module_gave_though_the_next_one_overwrites_it() -> None:
    torch.manual_seed(0)
    image = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3)).double()
    x = torch.randn(5, 1, 4, 4, dtype=DOUBLE)
    batch = Batch((x,), torch.zeros(5, dtype=torch.int64), torch.arange(5))
    seen = mw.Student(image, taps=("0",))(batch).features["0"]
    assert torch.equal(seen, image[0](x).flatten(2).mean(dim=2))
    for unit in UNITS:
        plain, overwriting = build(unit), build(unit)
        overwriting.module.after = lambda states: states.mul_(-3)
        seen = overwriting(sentences())
        assert torch.equal(seen.features["decoder"], plain(sentences()).features["decoder"])
        assert not torch.equal(seen.outputs, plain(sentences()).outputs)
