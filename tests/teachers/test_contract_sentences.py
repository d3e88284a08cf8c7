"""What every registered teacher must hold where a unit is a sentence; a newly registered one too."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from sentence_states import TAPS, padded, reordered, sentence_spec, sentence_state
from torch import Tensor

import metaweight as mw
from metaweight import teachers
from metaweight.core.contracts import StateSpec, StudentState
from metaweight.models.transformer import Transformer
from metaweight.models.translators import time_axes
from metaweight.student.losses import TokenCrossEntropy
from metaweight.teachers import Teacher, build_teacher

ONE_LABEL = ("class-balanced", "cmw-net")
NAMES = [name for name in teachers.names() if name not in ONE_LABEL]
LEARNED = [n for n in NAMES if any(p.requires_grad for p in build_teacher(n, sentence_spec()).parameters())]
DOUBLE = torch.float64
DTYPES = [torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
if not torch.cuda.is_available():
    DEVICES = DEVICES[:1]


def build(name: str, spec: StateSpec, *, seed: int = 3) -> Teacher:
    torch.manual_seed(seed)
    return build_teacher(name, spec)


def experienced(
    name: str, *, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 3
) -> Teacher:
    """A teacher that has seen steps and meta passes and whose every parameter was moved off its start."""
    teacher = build(name, sentence_spec(dtype=dtype, device=torch.device(device)), seed=seed)
    for one in (11, 12):
        teacher.track(sentence_state(9, seed=one, dtype=dtype, device=device))
        teacher.observe(sentence_state(10, seed=one + 10, dtype=dtype, device=device))
    for one in range(8):  # of the sentences that the tests weigh
        state = sentence_state(60, seed=one, dtype=dtype, device=device)
        teacher.take_hypergradient(state.index, (state.index % 7 - state.loss).to(state.loss))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return teacher


def extremes(dtype: torch.dtype) -> list[StudentState]:
    state = sentence_state(6, dtype=dtype)
    certain = torch.full_like(state.outputs, -1e4)
    right = certain.scatter(2, state.targets[..., None], 1e4)
    wrong = certain.scatter(2, (state.targets[..., None] + 1) % 9, 1e4)
    huge = {name: 1e4 * value for name, value in state.features.items()}
    zero = {name: torch.zeros_like(value) for name, value in state.features.items()}
    long = {tap: torch.full_like(value, 1e4) for tap, value in state.lengths.items()}
    return [
        replace(state, loss=torch.zeros_like(state.loss), outputs=right, features=zero, progress=0.0),
        replace(state, loss=torch.full_like(state.loss, 1e4), outputs=wrong, features=huge, progress=1.0),
        replace(state, loss=state.loss.new_tensor([0, 1e4, 0, 1e4, 1, 1e-30]), outputs=wrong, lengths=long),
        replace(state, lengths={}),
        sentence_state(6, steps=1, dtype=dtype),
    ]


def assert_close(ours: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ONE_LABEL)
def test_a_teacher_of_class_labels_refuses_sentences_when_it_is_built(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' reads one class label a unit"):
        build(name, sentence_spec())


@pytest.mark.parametrize("name", ONE_LABEL)
@pytest.mark.parametrize("act", ["forward", "track"])
def test_a_teacher_of_class_labels_refuses_the_first_sentences_it_meets(name: str, act: str) -> None:
    teacher = build(name, StateSpec(features=TAPS, classes=9, samples=100))
    if (name, act) == ("cmw-net", "track"):
        act = "forward"  # it keeps nothing of the batch
    with pytest.raises(ValueError, match=r"one class label \[U\].*got targets"):
        getattr(teacher, act)(sentence_state())


@pytest.mark.parametrize("name", ["surface", "mlp", "attention", "memory"])
def test_classes_and_sentences_are_not_taken_for_each_other(name: str) -> None:
    by_class = build(name, StateSpec(features=TAPS, classes=9, samples=100))
    with pytest.raises(ValueError, match="one class label"):
        by_class(sentence_state())
    state = sentence_state()
    words = replace(state, outputs=state.outputs[:, 0], targets=state.targets[:, 0], real=None)
    with pytest.raises(ValueError, match="built for sentences"):
        build(name, sentence_spec())(words)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_are_one_a_sentence_and_non_negative_in_the_states_dtype_on_its_device(
    name: str, dtype: torch.dtype, device: str
) -> None:
    teacher = experienced(name, dtype=dtype, device=device)
    state = sentence_state(8, dtype=dtype, device=device)
    weights = teacher(state)
    assert weights.shape == (8,)
    assert weights.dtype == dtype
    assert weights.device == state.loss.device
    assert bool(weights.isfinite().all())
    assert bool((weights >= 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_have_the_losses_dtype_where_the_teacher_has_another(name: str) -> None:
    assert experienced(name)(sentence_state(dtype=DOUBLE)).dtype == DOUBLE


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extreme_states_give_finite_weights_and_gradients(name: str, dtype: torch.dtype) -> None:
    for teacher in (experienced(name, dtype=dtype), build(name, sentence_spec(dtype=dtype))):
        for state in extremes(dtype):
            weights = teacher(state)
            assert bool(weights.isfinite().all())
            assert bool((weights >= 0).all())
            if name in LEARNED:
                teacher.zero_grad()
                (weights * torch.arange(6)).sum().backward()
                assert all(bool(p.grad.isfinite().all()) for p in teacher.parameters() if p.grad is not None)
            teacher.track(state)
            teacher.observe(state)


@pytest.mark.parametrize("name", LEARNED)
def test_learned_teachers_start_from_weights_of_exactly_one(name: str) -> None:
    teacher = build(name, sentence_spec())
    assert torch.equal(teacher(sentence_state(33)), torch.ones(33))
    teacher.track(sentence_state(33))
    teacher.observe(sentence_state(8, seed=1))
    later = teacher(sentence_state(33))
    assert torch.equal(later, torch.ones(33))
    assert later.requires_grad


@pytest.mark.parametrize("name", LEARNED)
def test_gradients_reach_every_parameter(name: str) -> None:
    teacher = experienced(name)
    (teacher(sentence_state(40, seed=5)) * torch.linspace(-1, 1, 40).sin()).sum().backward()
    still = [n for n, p in teacher.named_parameters() if p.grad is None or not bool((p.grad != 0).any())]
    assert still == []


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_teacher_gives_the_same_weights_and_goes_on_alike(name: str) -> None:
    teacher, fresh = experienced(name), build(name, sentence_spec(), seed=4)
    fresh.load_state_dict(copy.deepcopy(teacher.state_dict()))
    for seed in (7, 8):
        assert torch.equal(teacher(sentence_state(seed=seed)), fresh(sentence_state(seed=seed)))
        for one in (teacher, fresh):
            one.track(sentence_state(seed=seed))
            one.observe(sentence_state(seed=seed + 2))
    ours, theirs = teacher.state_dict(), fresh.state_dict()
    assert ours.keys() == theirs.keys()
    assert [n for n in ours if not torch.equal(ours[n], theirs[n])] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_and_any_other_size_are_weighed(name: str) -> None:
    teacher = experienced(name)
    for units in (1, 2, 600):
        state = sentence_state(units)
        assert teacher(state).shape == (units,)
        assert bool(teacher(state).isfinite().all())
        teacher.track(state)
        teacher.observe(state)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_the_order_of_the_batch_does_not_matter(name: str) -> None:
    teacher, state = experienced(name, dtype=DOUBLE), sentence_state(20, dtype=DOUBLE)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    assert_close(teacher(reordered(state, order)), teacher(state)[order])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("before", "after", "logit", "target"),
    [(0, 3, 1e3, 5), (0, 1, float("nan"), 0), (0, 0, float("inf"), -100), (2, 1, -1e3, 0)],
    ids=["garbage", "nan", "minus-100", "on-the-left-too"],
)
def test_padding_does_not_matter(name: str, before: int, after: int, logit: float, target: int) -> None:
    ends = []
    for change in (lambda s: s, lambda s: padded(s, before, after, logit=logit, target=target)):
        teacher = experienced(name, dtype=DOUBLE)
        teacher.track(change(sentence_state(seed=6, dtype=DOUBLE)))
        teacher.observe(change(sentence_state(seed=7, dtype=DOUBLE)))
        weights = teacher(change(sentence_state(20, seed=8, dtype=DOUBLE)))
        grads = []
        if name in LEARNED:
            (weights * torch.linspace(-1, 1, 20).sin()).sum().backward()
            grads = [p.grad for p in teacher.parameters()]
        ends.append((weights, *grads, *teacher.buffers()))
    for ours, other in zip(*ends, strict=True):
        assert_close(ours, other)


@pytest.mark.parametrize("name", [n for n in NAMES if "normalize" in teachers.options(n)])
def test_normalised_weights_have_mean_one(name: str) -> None:
    teacher = build_teacher(name, sentence_spec(), normalize="batch")
    teacher.load_state_dict(experienced(name).state_dict())
    torch.testing.assert_close(teacher(sentence_state(50)).mean(), torch.ones(()))


@pytest.mark.parametrize("name", ["knn", "memory"])
def test_who_compares_pairs_needs_a_tap_on_both_sides(name: str) -> None:
    for taps in ({"deep": 6}, {"low": 5, "source": 7}, {"deep": 6, "source": 7}):
        with pytest.raises(ValueError, match=f"'{name}'.*tap in the encoder.*in the decoder"):
            build(name, sentence_spec(taps))


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("unit", ["sentence", "token"])
def test_a_learned_teacher_learns_from_a_transformer(name: str, unit: str) -> None:
    torch.manual_seed(0)
    options = {"width": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feedforward": 12}
    module = Transformer(9, 9, dropout=0.0, **options)
    taps = ("encoder.layers.0", "decoder.layers.0")
    student = mw.Student(module, TokenCrossEntropy(0, 0.1, unit), taps=taps, time_axes=time_axes)
    g = torch.Generator().manual_seed(1)

    def pairs(size: int) -> mw.Batch:
        real = torch.arange(5) < torch.randint(1, 6, (size, 1), generator=g)
        source, target = (torch.randint(4, 9, (size, 5), generator=g) * real for _ in range(2))
        shifted = torch.cat([torch.full((size, 1), 2), target[:, :-1]], dim=1) * real
        return mw.Batch((source, shifted), target, torch.randperm(100, generator=g)[:size])

    teacher = mw.build_teacher(name, student.spec(pairs(6), samples=100))
    start = copy.deepcopy(dict(teacher.named_parameters()))
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=torch.optim.Adam(module.parameters(), lr=1e-2),
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=1e-2),
        engine="forward",
    )
    for _ in range(4):
        train = pairs(6)
        report = reweighter.step(train, pairs(5))
        rows = range(6) if unit == "sentence" else (train.targets != 0).nonzero()[:, 0].tolist()
        assert report.index.tolist() == [int(train.index[row]) for row in rows]
        assert report.weights.shape == report.losses.shape == report.index.shape
    assert report.stats["weight_spread"] > 0
    still = [n for n, p in teacher.named_parameters() if torch.equal(p, start[n])]
    assert still == []
