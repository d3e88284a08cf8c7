"""Weights per sentence and token through a Transformer: engines against central differences and higher."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
import torch.nn.functional as F
from slowly import covering, slowly
from students import OPTIMIZERS, STEP_ENGINES, agreement, engine_for
from torch import Tensor

import metaweight as mw
from metaweight.core.randomness import RandomState
from metaweight.models.transformer import Transformer
from metaweight.models.translators import time_axes
from metaweight.student.losses import TokenCrossEntropy
from metaweight.testing.oracles import differences, live_tensors, relative
from metaweight.testing.rules import changed

WORDS = 11
SMOOTHING = 0.1
UNITS = ["sentence", "token"]
SENTENCES_ONLY = ("ghost",)
"""Engines that refuse tokens as units."""
USUAL = {"sentence": "adam", "token": "momentum"}
"""The optimizer of a unit by default; the other one is measured slowly."""
ABLE = [(e, u) for e in STEP_ENGINES for u in UNITS if u == "sentence" or e not in SENTENCES_ONLY]


def sentences(size: int, seed: int) -> mw.Batch:
    """Padded pairs of different lengths, as TextLoader makes them."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 6, (size, 2), generator=g).tolist()
    words = [[torch.randint(4, WORDS, (n,), generator=g).tolist() for n in row] for row in lengths]

    def padded(rows: list[list[int]]) -> Tensor:
        width = max(map(len, rows))
        return torch.tensor([row + [0] * (width - len(row)) for row in rows])

    source = padded([[*s, 3] for s, _ in words])
    shifted, targets = padded([[2, *t] for _, t in words]), padded([[*t, 3] for _, t in words])
    return mw.Batch((source, shifted), targets, torch.arange(size) + 10 * seed)


def build(
    unit: str, optimizer: str, *, dropout: float = 0.0, tie: str = "all", norm: str = "pre"
) -> tuple[mw.Student, torch.optim.Optimizer, mw.Batch, mw.Batch]:
    """A Transformer in float64 after two plain steps, its optimizer, a train and a meta batch."""
    torch.manual_seed(3)
    module = Transformer(
        WORDS,
        WORDS,
        width=8,
        heads=2,
        encoder_layers=1,
        decoder_layers=1,
        feedforward=12,
        dropout=dropout,
        tie=tie,
        norm=norm,
        activation="gelu",  # central differences across the kink of a ReLU would measure the kink
    ).double()
    own = OPTIMIZERS[optimizer](list(module.parameters()))
    for step in range(2):
        real_step(module, own, sentences(4, 20 + step), None, unit)
    loss = TokenCrossEntropy(0, SMOOTHING, unit)
    student = mw.Student(module, loss, taps=("encoder.layers.0", "decoder.layers.0"), time_axes=time_axes)
    return student, own, sentences(4, 1), sentences(3, 2)


def weighted_loss(module: Transformer, batch: mw.Batch, weights: Tensor | None, unit: str) -> Tensor:
    """sum_i w_i loss_i / (all real tokens), written once more: a sentence's weight is that of its tokens."""
    logits = module(*batch.inputs).flatten(0, 1)
    token = F.cross_entropy(logits, batch.targets.flatten(), reduction="none", label_smoothing=SMOOTHING)
    real = (batch.targets != 0).flatten()
    each = torch.ones_like(token)
    if weights is not None and unit == "sentence":
        each = weights.repeat_interleave(batch.targets.shape[1])
    elif weights is not None:
        each = torch.zeros_like(token).masked_scatter(real, weights)
    return (each * token)[real].sum() / real.sum()


def real_step(
    module: Transformer, own: torch.optim.Optimizer, batch: mw.Batch, weights: Tensor | None, unit: str
) -> None:
    own.zero_grad()
    weighted_loss(module, batch, weights, unit).backward()
    own.step()


def meta_loss_after(
    student: mw.Student, own: torch.optim.Optimizer, train: mw.Batch, meta: mw.Batch, w: Tensor, unit: str
) -> float:
    state = RandomState.of(student.device)
    module, optimizer = copy.deepcopy((student.module, own))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        real_step(module, optimizer, train, w, unit)
        with torch.no_grad():
            loss = weighted_loss(module, meta, None, unit)
    state.restore(student.device)
    return float(loss)


def weights_of(batch: mw.Batch, unit: str) -> Tensor:
    units = len(batch) if unit == "sentence" else int((batch.targets != 0).sum())
    return torch.rand(units, generator=torch.Generator().manual_seed(units), dtype=torch.float64) + 0.5


def slopes(engine: str, built: tuple, unit: str, w: Tensor, **chosen: object) -> Tensor:
    leaf = w.clone().requires_grad_()
    return mw.hypergradient(
        *built, lambda _state: leaf, [leaf], engine_for(engine, built[1]), **chosen
    ).grads[0]


@functools.cache
def measured(unit: str, optimizer: str) -> Tensor:
    """Central differences of a real step, once for all engines."""
    student, own, train, meta = build(unit, optimizer)
    w = weights_of(train, unit)
    return differences(lambda moved: meta_loss_after(student, own, train, meta, moved, unit), w)


@pytest.mark.parametrize(
    ("engine", "unit", "optimizer"),
    [
        *((engine, unit, USUAL[unit]) for engine, unit in ABLE),
        *slowly(*((e, u, other) for e, u in ABLE for other in USUAL.values() if other != USUAL[u])),
    ],
)
def test_engine_equals_central_differences(engine: str, unit: str, optimizer: str) -> None:
    truth = measured(unit, optimizer)
    built = build(unit, optimizer)
    found = slopes(engine, built, unit, weights_of(built[2], unit))
    assert relative(found, truth) <= agreement(engine, 1e-6)


@pytest.mark.parametrize(
    ("engine", "unit", "optimizer", "dropout", "tie", "norm"),
    covering(
        [pair for pair in ABLE if pair[0] != "higher"],
        ["groups", "adamw"],
        [(0.0, "all", "pre"), (0.1, "decoder", "post")],
        pairs=True,
    ),
)
def test_engine_equals_higher(
    engine: str, unit: str, optimizer: str, dropout: float, tie: str, norm: str
) -> None:
    built = build(unit, optimizer, dropout=dropout, tie=tie, norm=norm)
    w = weights_of(built[2], unit)
    torch.manual_seed(8)
    ours = slopes(engine, built, unit, w, max_norm=0.5)
    torch.manual_seed(8)
    assert relative(ours, slopes("higher", built, unit, w, max_norm=0.5)) <= agreement(engine)


@pytest.mark.parametrize("engine", SENTENCES_ONLY)
def test_tokens_as_units_are_refused(engine: str) -> None:
    built = build("token", "adam")
    with pytest.raises(mw.engines.EngineError, match=r"tokens.*unit='sentence'"):
        slopes(engine, built, "token", weights_of(built[2], "token"))


@pytest.mark.parametrize("engine", [e for e in STEP_ENGINES if e not in SENTENCES_ONLY])
def test_a_sentences_slope_is_the_sum_of_its_tokens(engine: str) -> None:
    """Equal weights make both units one problem: the chain rule joins their slopes."""
    by_sentence, by_token = build("sentence", "adamw"), build("token", "adamw")
    train = by_sentence[2]
    w = weights_of(train, "sentence")
    sizes = (train.targets != 0).sum(dim=1)
    tokens = slopes(engine, by_token, "token", w.repeat_interleave(sizes))
    rows = torch.arange(len(train)).repeat_interleave(sizes)
    summed = torch.zeros_like(w).index_add(0, rows, tokens)
    close = {"rtol": 1e-7, "atol": 1e-10} if engine == "difference" else {"rtol": 1e-10, "atol": 1e-14}
    torch.testing.assert_close(slopes(engine, by_sentence, "sentence", w), summed, **close)


@pytest.mark.parametrize(("engine", "unit"), ABLE)
def test_nothing_live_is_touched(engine: str, unit: str) -> None:
    built = build(unit, "adam", dropout=0.1)
    before = live_tensors(built[0], built[1])
    slopes(engine, built, unit, weights_of(built[2], unit))
    assert changed(before, live_tensors(built[0], built[1])) == []


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize("unit", UNITS)
def test_a_teacher_that_cannot_learn_is_plain_training_bit_for_bit(schedule: str, unit: str) -> None:
    """First weights are 1 and the teacher's learning rate is 0; dropout draws the same masks."""
    ends = []
    for reweighted in (True, False):
        student, own, train, meta = build(unit, "adam", dropout=0.1)
        teacher = mw.build_teacher("mlp", student.spec(train))
        learner = torch.optim.SGD(teacher.parameters(), lr=0.0)
        reweighter = mw.Reweighter(
            student, teacher, optimizer=own, teacher_optimizer=learner, engine="forward", schedule=schedule
        )
        torch.manual_seed(1)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            for _ in range(3):
                reweighter.step(train, meta, teach=reweighted)
        ends.append(torch.nn.utils.parameters_to_vector(student.module.parameters()))
    assert torch.equal(*ends)
