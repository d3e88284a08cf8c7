from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import entropy, rankdata

from metaweight.teachers import build_teacher
from metaweight.teachers.inputs import average_rank
from metaweight.teachers.sentences import CLASS_SCALARS
from metaweight.teachers.surface import Surface, matched_width

DOUBLE = torch.float64


@pytest.mark.parametrize("values", [[3.0, 1.0, 3.0, 0.0, 3.0, 1.0], [5.0, 5.0], [1e4, 0.0, 1e-30]])
def test_ranks_are_scipys_average_ranks_scaled(values):
    expected = 2 * (torch.from_numpy(rankdata(values)) - 1) / (len(values) - 1) - 1
    torch.testing.assert_close(
        average_rank(torch.tensor(values, dtype=DOUBLE)), expected, rtol=1e-12, atol=1e-12
    )


def test_a_batch_of_one_has_rank_zero():
    assert average_rank(torch.tensor([7.0])).tolist() == [0]


def test_each_feature_is_what_its_name_says(make_spec, make_state):
    surface = Surface(make_spec(), label_width=3).double()
    state = make_state(10, dtype=DOUBLE, progress=0.25)
    surface.track(replace(state, loss=torch.full_like(state.loss, 2.0)))
    surface.observe(replace(state, loss=torch.full_like(state.loss, 0.5)))
    seen = surface(state)
    p = state.outputs.softmax(dim=1)
    chance = math.log(4)

    def scaled(loss):
        return math.log(1 + loss) / math.log(1 + chance) - 1

    for i, y in enumerate(state.targets.tolist()):
        others = [float(p[i, k]) for k in range(4) if k != y]
        by_hand = [
            scaled(float(state.loss[i])),
            max(1 + math.log(float(p[i, y])) / chance, -3),
            float(p[i, y]) - max(others),
            entropy(p[i].numpy()) / chance,
            2 * (rankdata(state.loss.numpy())[i] - 1) / 9 - 1,
            -0.5,
            scaled(2.0),
            scaled(0.5),
            *surface.label.weight[y].tolist(),
        ]
        assert seen[i].tolist() == pytest.approx(by_hand, rel=1e-9, abs=1e-12)


def test_the_scale_is_about_one_where_students_are(make_spec, make_state):
    surface = Surface(make_spec(classes=10))
    seen = surface(make_state(200, classes=10))[:, : CLASS_SCALARS + 3].detach()
    assert float(seen.abs().max()) <= 3
    chance = make_state(5, classes=10, outputs=torch.zeros(5, 10), loss=torch.full((5,), math.log(10)))
    torch.testing.assert_close(surface(chance)[:, :2], torch.zeros(5, 2), rtol=0, atol=1e-6)


def test_what_is_not_known_yet_is_zero(make_spec, make_state):
    surface = Surface(make_spec())
    assert torch.equal(surface(make_state())[:, 6:8], torch.zeros(12, 2))
    surface.track(make_state())
    assert bool((surface(make_state())[:, 6] != 0).all())
    assert torch.equal(surface(make_state())[:, 7], torch.zeros(12))


def test_the_running_mean_is_plain_first_and_then_exponential(make_spec, make_state):
    surface = Surface(make_spec(), decay=0.75).double()
    losses = [1.0, 4.0, 2.5, 7.0, 3.0, 9.0]
    expected = None
    for step, value in enumerate(losses, start=1):
        surface.track(make_state(2, loss=torch.tensor([value - 0.5, value + 0.5], dtype=DOUBLE)))
        expected = sum(losses[:step]) / step if step <= 4 else 0.75 * expected + 0.25 * value
        assert float(surface.train_loss) == pytest.approx(expected, rel=1e-12)


def test_the_best_meta_loss_only_falls(make_spec, make_state):
    surface = Surface(make_spec())
    for value, best in ((3.0, 3.0), (5.0, 3.0), (1.0, 1.0)):
        surface.observe(make_state(2, loss=torch.full((2,), value)))
        assert float(surface.best_meta_loss) == best


def size(teacher):
    return sum(p.numel() for p in teacher.parameters())


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("width", [16, 64, 640])
@pytest.mark.parametrize("to", ["mlp", "attention", "memory"])
def test_surface_has_as_many_parameters_as_the_teacher_it_controls(to, width, classes, make_spec):
    spec = make_spec({"a": 8, "b": width}, classes=classes)
    random = torch.get_rng_state()
    chosen = matched_width(spec, to=to)
    assert torch.equal(random, torch.get_rng_state())
    matched = build_teacher("surface", spec, width=chosen)
    assert size(matched) == pytest.approx(size(build_teacher(to, spec)), rel=0.02)


def test_surface_has_the_size_of_mlp_unless_told(make_spec):
    spec = make_spec({"a": 8, "b": 64}, classes=10)
    matched = build_teacher("surface", spec, width=matched_width(spec, to="mlp"))
    assert size(build_teacher("surface", spec)) == size(matched)


def test_surface_without_taps_has_nothing_to_match(make_spec):
    assert matched_width(make_spec({})) == 64
    assert build_teacher("surface", make_spec({}), width=5).head.hidden.out_features == 5


def test_sizes_out_of_range_are_refused(make_spec):
    with pytest.raises(ValueError, match="2 classes or more, got 1"):
        Surface(make_spec(classes=1))
    with pytest.raises(ValueError, match="label_width is 0 or more"):
        Surface(make_spec(), label_width=-1)
    with pytest.raises(ValueError, match="1 unit or more, got 0"):
        build_teacher("surface", make_spec(), width=0)


@pytest.mark.parametrize("name", ["surface", "mlp", "attention", "memory"])
def test_every_teacher_with_a_surface_keeps_its_running_numbers(name, make_spec, make_state):
    teacher, train, meta = build_teacher(name, make_spec()), make_state(6), make_state(5, seed=1)
    teacher.track(train)
    teacher.observe(meta)
    torch.testing.assert_close(teacher.surface.train_loss, train.loss.mean())
    torch.testing.assert_close(teacher.surface.best_meta_loss, meta.loss.mean())
