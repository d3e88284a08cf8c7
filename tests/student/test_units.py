"""A sentence or a token as a unit: losses, states, specs, what a report and a history say of them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from sentence_students import WORDS, build, sentences
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.contracts import Batch, StepReport, Units
from metaweight.student.losses import TokenCrossEntropy, token_cross_entropy
from metaweight.teachers.inputs import unit_loss
from metaweight.training.callbacks import WeightHistory

DOUBLE = torch.float64
UNITS = ["sentence", "token"]


def random_text(seed: int) -> tuple[Tensor, Tensor]:
    """Logits [B, T, V] and padded targets of random sizes."""
    g = torch.Generator().manual_seed(seed)
    rows, steps, words = (int(torch.randint(2, most, (1,), generator=g)) for most in (30, 40, 60))
    real = torch.arange(steps) < torch.randint(1, steps + 1, (rows, 1), generator=g)
    logits = 3 * torch.randn(rows, steps, words, generator=g, dtype=DOUBLE)
    return logits, torch.randint(1, words, (rows, steps), generator=g) * real


def test_the_losses_of_two_sentences_by_hand() -> None:
    """p = 4/8 for the first sentence's first word, chance level elsewhere; five words, 0 is padding."""
    logits = torch.zeros(2, 3, 5, dtype=DOUBLE)
    logits[0, 0, 1] = math.log(4)
    targets = torch.tensor([[1, 2, 3], [4, 0, 0]])
    two, five = math.log(2), math.log(5)
    by_sentence = TokenCrossEntropy(0, 0.0, "sentence")(logits, targets)
    assert by_sentence.loss.tolist() == pytest.approx([(two + 2 * five) * 2 / 4, five * 2 / 4], rel=1e-14)
    assert by_sentence.size.tolist() == [3, 1]
    assert not by_sentence.each_token
    by_token = TokenCrossEntropy(0, 0.0, "token")(logits, targets)
    assert by_token.loss.tolist() == pytest.approx([two, five, five, five], rel=1e-14)
    assert by_token.size.tolist() == [1, 1, 1, 1]
    assert by_token.each_token
    for units in (by_sentence, by_token):
        assert units.real.tolist() == [[True, True, True], [True, False, False]]
    # smoothing 0.2: 0.8 of the target's -log p, and 0.2 of the mean over the words: four p = 1/8, one 4/8
    smooth = TokenCrossEntropy(0, 0.2, "token")(logits, targets).loss[0]
    assert float(smooth) == pytest.approx(0.8 * two + 0.2 * (4 * math.log(8) + two) / 5, rel=1e-14)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("padding", [0, -100])
def test_with_weights_of_one_it_is_torchs_mean_over_tokens(unit: str, smoothing: float, padding: int) -> None:
    """Both add N terms >= 0 in different orders: each errs by at most about N roundings of eps / 2.

    Up to 1,200 tokens 4 ulp were seen, and seldom more than 2.
    """
    for seed in range(25):
        logits, targets = random_text(seed)
        targets = targets.masked_fill(targets == 0, padding)
        loss = TokenCrossEntropy(padding, smoothing, unit)(logits, targets).loss
        weighted = (torch.ones_like(loss) * loss).mean()
        plain = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=padding, label_smoothing=smoothing
        )
        roundings = int((targets != padding).sum()) + 10
        assert abs(float(weighted) - float(plain)) <= roundings * torch.finfo(DOUBLE).eps * float(plain)


def test_a_sentences_loss_is_the_sum_of_its_tokens_losses() -> None:
    for seed in range(10):
        logits, targets = random_text(seed)
        tokens = TokenCrossEntropy(0, 0.1, "token")(logits, targets)
        whole = TokenCrossEntropy(0, 0.1, "sentence")(logits, targets)
        rows, scale = (targets != 0).nonzero()[:, 0], len(targets) / len(tokens.loss)
        for row in range(len(targets)):
            expected = math.fsum(tokens.loss[rows == row].tolist()) * scale
            assert float(whole.loss[row]) == pytest.approx(expected, rel=1e-13)


def test_logits_at_padding_may_be_nan() -> None:
    logits, targets = random_text(3)
    holes = logits.masked_fill((targets == 0)[..., None], math.nan)
    for unit in UNITS:
        loss = TokenCrossEntropy(0, 0.1, unit)
        assert torch.equal(loss(holes, targets).loss, loss(logits, targets).loss)


def test_tokens_are_units_in_the_order_of_rows_and_then_of_time() -> None:
    batch, student = sentences(), build("token")
    forward = student(batch)
    state = forward.state(0.5)
    places = [(row, t) for row in range(3) for t in range(3) if batch.targets[row, t] != 0]
    assert len(state) == len(places) == 6
    assert state.index.tolist() == [30, 30, 10, 10, 10, 20]
    assert torch.equal(forward.index, state.index)
    assert state.targets.tolist() == [int(batch.targets[place]) for place in places]
    assert torch.equal(state.outputs, torch.stack([forward.outputs[place] for place in places]))
    assert state.size.tolist() == [1] * 6
    assert state.real is None
    expected = F.cross_entropy(state.outputs, state.targets, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(state.loss, expected, rtol=1e-12, atol=0)
    assert torch.equal(unit_loss(state), state.loss)


@pytest.mark.parametrize("unit", UNITS)
def test_the_spec_says_what_a_unit_is(unit: str) -> None:
    spec = build(unit).spec(sentences())
    assert dict(spec.features) == {"encoder": 3, "decoder": 4}
    assert (spec.classes, spec.dtype, spec.source_taps) == (WORDS, DOUBLE, ("encoder",))
    assert (spec.sentences, spec.tokens) == (unit == "sentence", unit == "token")


def test_classes_are_neither_sentences_nor_tokens() -> None:
    batch = Batch((torch.randn(3, 4),), torch.tensor([0, 1, 1]), torch.arange(3))
    student = mw.Student(nn.Sequential(nn.Linear(4, 2)), taps=("0",))
    spec, state = student.spec(batch), student(batch).state()
    assert (spec.sentences, spec.tokens, spec.source_taps) == (False, False, ())
    assert state.real is None
    assert dict(state.lengths) == {}
    assert torch.equal(unit_loss(state), state.loss)


def test_losses_of_wrong_shapes_are_refused() -> None:
    logits, targets = torch.zeros(2, 3, 5), torch.ones(2, 3, dtype=torch.int64)
    for unit in UNITS:
        loss = TokenCrossEntropy(0, 0.0, unit)
        for bad in (torch.zeros(3, 2, 5), torch.zeros(2, 5), torch.zeros(2, 3)):
            with pytest.raises(ValueError, match=r"logits \[B, T, V\] and targets \[B, T\], got"):
                loss(bad, targets)
        with pytest.raises(ValueError, match=r"labels run from 0 to 4, got 5 at position 1"):
            loss(logits, torch.tensor([[1, 5, 0], [1, 0, 0]]))
        with pytest.raises(ValueError, match=r"at least one real token, got padding \(1\) only"):
            TokenCrossEntropy(1, 0.0, unit)(logits, targets)


def test_a_sentence_without_a_token_is_no_unit() -> None:
    logits, targets = torch.zeros(3, 2, 5), torch.tensor([[0, 0], [1, 2], [0, 0]])
    with pytest.raises(ValueError, match=r"padding only in rows \[0, 2\] \(2 in all\)"):
        TokenCrossEntropy()(logits, targets)
    assert len(TokenCrossEntropy(unit="token")(logits, targets).loss) == 2
    assert token_cross_entropy(logits, targets)[1].tolist() == [0, 2, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "word"}, r"a unit of text is sentence or token, got 'word'"),
        ({"smoothing": 1.0}, r"smoothing lies in \[0, 1\), got 1.0"),
        ({"smoothing": -0.1}, r"smoothing lies in \[0, 1\), got -0.1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenCrossEntropy(**options)


def test_units_that_do_not_fit_together_are_refused() -> None:
    one, real = torch.ones(3), torch.ones(3, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"a loss and a size, got shapes \(3,\) and \(2,\)"):
        Units(one, torch.ones(2))
    with pytest.raises(ValueError, match="say which targets are real"):
        Units(one, one, each_token=True)
    with pytest.raises(ValueError, match=r"bool of shape \[B, T\], got torch.int64 of shape \(3, 2\)"):
        Units(one, one, real.long())
    batch = Batch((torch.randn(3, 4),), torch.zeros(3, 2, dtype=torch.int64), torch.arange(3))
    module = nn.Linear(4, 2)

    def student(*given: object, **chosen: object) -> mw.Student:
        return mw.Student(module, lambda outputs, _: Units(*(v(outputs) for v in given), **chosen))

    def total(outputs: Tensor) -> Tensor:
        return outputs.sum(dim=1)

    with pytest.raises(ValueError, match=r"got shape \(3, 5\) for targets \(3, 2\)"):
        student(total, total, lambda _: torch.ones(3, 5, dtype=torch.bool))(batch)
    with pytest.raises(ValueError, match=r"one value a unit, shape \[6\], got \(3,\)"):
        student(total, total, lambda _: real, each_token=True)(batch)


@pytest.mark.parametrize(("shape", "seen"), [((), (1,)), ((5,), (5,)), ((2, 5), (2, 5)), ((4, 2, 5), (4,))])
def test_tokens_have_outputs_of_their_own_shape(shape: tuple[int, ...], seen: tuple[int, ...]) -> None:
    real = torch.tensor([[True, True], [True, False], [True, True]])
    batch = Batch((torch.randn(3, 2, *shape),), torch.zeros(3, 2), torch.arange(3))

    def loss(outputs: Tensor, _: object) -> Units:
        each = outputs.reshape(3, 2, -1).square().sum(dim=2)[real]
        return Units(each, torch.ones_like(each), real, each_token=True)

    forward = mw.Student(Scaled(), loss)(batch)
    for detached in (True, False):
        outputs = forward.state(detached=detached).outputs
        whole = batch.args[0][real]
        expected = whole.reshape(5, *seen) if len(shape) < 3 else whole.flatten(2).mean(dim=2)
        torch.testing.assert_close(outputs.detach(), expected)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.by * x


def test_sizes_may_be_whole_numbers() -> None:
    batch = Batch((torch.randn(3, 4),), torch.zeros(3, dtype=torch.int64), torch.arange(3))
    student = mw.Student(nn.Linear(4, 2), lambda out, _: (out.square().sum(dim=1), torch.tensor([1, 2, 3])))
    state = student(batch).state()
    assert state.size.dtype == state.loss.dtype
    torch.testing.assert_close(unit_loss(state), state.loss * 2 / torch.tensor([1.0, 2.0, 3.0]))


def test_the_loss_per_token_of_a_sentence_is_its_tokens_mean() -> None:
    state, tokens = build("sentence")(sentences()).state(), build("token")(sentences()).state()
    for row, index in enumerate(state.index.tolist()):
        own = tokens.loss[tokens.index == index]
        assert float(unit_loss(state)[row]) == pytest.approx(float(own.mean()), rel=1e-12)


def test_a_history_keeps_the_mean_weight_and_loss_of_a_sentences_tokens() -> None:
    g = torch.Generator().manual_seed(4)
    history = WeightHistory(samples=9, epochs=2)
    steps = []
    for epoch, rows in ((0, [7, 2, 2, 7, 7]), (0, [3, 3, 0]), (1, [2])):
        index = torch.tensor(rows)
        weights, losses = (torch.rand(len(rows), generator=g, dtype=DOUBLE) for _ in range(2))
        report = StepReport(weights, losses, 0.0, None, {}, index)
        history.on_step(SimpleNamespace(epoch=epoch), sentences(), report)
        steps.append((epoch, rows, weights.tolist(), losses.tolist()))
    expected = [[[math.nan] * 9 for _ in range(2)] for _ in range(2)]
    for epoch, rows, *both in steps:
        for table, values in zip(expected, both, strict=True):
            for row in set(rows):
                own = [value for at, value in zip(rows, values, strict=True) if at == row]
                table[epoch][row] = sum(own) / len(own)
    for seen, table in zip((history.weights, history.loss), expected, strict=True):
        torch.testing.assert_close(seen, torch.tensor(table), rtol=1e-6, atol=0, equal_nan=True)


@pytest.mark.parametrize("unit", UNITS)
def test_a_report_names_the_sentence_and_the_loss_per_token_of_each_unit(unit: str) -> None:
    batch, student = sentences(), build(unit)
    before = student(batch).state()
    teacher = mw.build_teacher("uniform", student.spec(batch))
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.1)
    report = mw.Reweighter(student, teacher, optimizer=optimizer).step(batch)
    assert torch.equal(report.index, before.index)
    torch.testing.assert_close(report.losses, unit_loss(before), rtol=1e-12, atol=0)
    tokens = build("token")(batch).loss.detach()
    assert report.train_loss == pytest.approx(float(tokens.mean()), rel=1e-12)
