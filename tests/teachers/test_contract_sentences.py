"""Teachers where a unit is a sentence: what they refuse, and that they learn; beside their contract."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from slowly import covering

import metaweight as mw
from metaweight import teachers
from metaweight.core.contracts import StateSpec
from metaweight.models.transformer import Transformer
from metaweight.models.translators import time_axes
from metaweight.student.losses import TokenCrossEntropy
from metaweight.teachers import Teacher, build_teacher
from metaweight.testing.states import PAIR_TAPS, sentence_spec, sentence_state
from metaweight.testing.teacher_subject import Subject

ONE_LABEL = ("class-balanced", "cmw-net")
NAMES = [name for name in teachers.names() if name not in ONE_LABEL]
LEARNED = [name for name in NAMES if teachers.registry[name].learns and name != "l2rw"]


def build(name: str, spec: StateSpec) -> Teacher:
    torch.manual_seed(3)
    return build_teacher(name, spec)


@pytest.mark.parametrize("name", ONE_LABEL)
def test_a_teacher_of_class_labels_refuses_sentences_when_it_is_built(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' reads one class label a unit"):
        build(name, sentence_spec())


@pytest.mark.parametrize(
    ("name", "act"), [("class-balanced", "forward"), ("class-balanced", "track"), ("cmw-net", "forward")]
)
def test_a_teacher_of_class_labels_refuses_the_first_sentences_it_meets(name: str, act: str) -> None:
    teacher = build(name, StateSpec(features=PAIR_TAPS, classes=9, samples=100))
    with pytest.raises(ValueError, match=r"one class label \[U\].*got targets"):
        getattr(teacher, act)(sentence_state())


@pytest.mark.parametrize("name", ["surface", "mlp", "attention", "memory"])
def test_classes_and_sentences_are_not_taken_for_each_other(name: str) -> None:
    by_class = build(name, StateSpec(features=PAIR_TAPS, classes=9, samples=100))
    with pytest.raises(ValueError, match="one class label"):
        by_class(sentence_state())
    state = sentence_state()
    words = replace(state, outputs=state.outputs[:, 0], targets=state.targets[:, 0], real=None)
    with pytest.raises(ValueError, match="built for sentences"):
        build(name, sentence_spec())(words)


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_have_the_losses_dtype_where_the_teacher_has_another(name: str) -> None:
    teacher = Subject(teachers.registry[name], sentences=True).experienced()
    assert teacher(sentence_state(dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("name", LEARNED)
def test_learned_teachers_start_from_weights_of_exactly_one(name: str) -> None:
    teacher = build(name, sentence_spec())
    assert torch.equal(teacher(sentence_state(33)), torch.ones(33))
    if name == "jury":  # which starts from evidence, once there is some
        return
    teacher.track(sentence_state(33))
    teacher.observe(sentence_state(8, seed=1))
    later = teacher(sentence_state(33))
    assert torch.equal(later, torch.ones(33))
    assert later.requires_grad


@pytest.mark.parametrize("name", [n for n in NAMES if "normalize" in teachers.options(n)])
def test_normalised_weights_have_mean_one(name: str) -> None:
    teacher = build_teacher(name, sentence_spec(), normalize="batch")
    teacher.load_state_dict(Subject(teachers.registry[name], sentences=True).experienced().state_dict())
    torch.testing.assert_close(teacher(sentence_state(50)).mean(), torch.ones(()))


@pytest.mark.parametrize("name", ["knn", "memory"])
def test_who_compares_pairs_needs_a_tap_on_both_sides(name: str) -> None:
    for taps in ({"deep": 6}, {"low": 5, "source": 7}, {"deep": 6, "source": 7}):
        with pytest.raises(ValueError, match=f"'{name}'.*tap in the encoder.*in the decoder"):
            build(name, sentence_spec(taps))


@pytest.mark.parametrize(("name", "unit"), covering(LEARNED, ["sentence", "token"]))
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
