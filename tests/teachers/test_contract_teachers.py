"""What every registered teacher must hold; a newly registered one is tested by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metaweight import teachers
from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers import Teacher, build_teacher

MakeSpec = Callable[..., StateSpec]
MakeState = Callable[..., StudentState]
NAMES = teachers.names()
ANY = StateSpec(features={"deep": 6}, classes=4, samples=10)
LEARNED = [name for name in NAMES if any(p.requires_grad for p in build_teacher(name, ANY).parameters())]
SIZES = {"class_counts": (40, 30, 4, 9)}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
if not torch.cuda.is_available():
    DEVICES = DEVICES[:1]


def build(name: str, spec: StateSpec, *, seed: int = 3) -> Teacher:
    torch.manual_seed(seed)
    return build_teacher(name, spec)


def experienced(name: str, spec: StateSpec, make_state: MakeState, **chosen: object) -> Teacher:
    """A teacher that has seen steps and meta passes and whose every parameter was moved off its start."""
    teacher = build(name, spec)
    for seed in (11, 12):
        teacher.track(make_state(9, seed=seed, **chosen))
        teacher.observe(make_state(10, seed=seed + 10, **chosen))
    for seed in range(8):  # of the samples that the tests weigh
        state = make_state(60, seed=seed, **chosen)
        teacher.take_hypergradient(state.index, (state.index % 7 - state.loss).to(state.loss))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return teacher


def extremes(make_state: MakeState, dtype: torch.dtype) -> list[StudentState]:
    state = make_state(6, dtype=dtype)
    certain = torch.full_like(state.outputs, -1e4)
    right = certain.scatter(1, state.targets[:, None], 1e4)
    wrong = certain.scatter(1, (state.targets[:, None] + 1) % 4, 1e4)
    huge = {name: 1e4 * value for name, value in state.features.items()}
    zero = {name: torch.zeros_like(value) for name, value in state.features.items()}
    return [
        replace(state, loss=torch.zeros_like(state.loss), outputs=right, features=zero, progress=0.0),
        replace(state, loss=torch.full_like(state.loss, 1e4), outputs=wrong, features=huge, progress=1.0),
        replace(state, loss=state.loss.new_tensor([0, 1e4, 0, 1e4, 1, 1e-30]), outputs=wrong),
    ]


def snapshot(teacher: Teacher) -> dict[str, Tensor]:
    return copy.deepcopy(teacher.state_dict())


def assert_same(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_the_built_in_teachers_are_registered() -> None:
    assert set(NAMES) >= {
        *("uniform", "random", "class-balanced", "focal", "self-paced", "knn", "l2rw"),
        *("mw-net", "cmw-net", "surface", "mlp", "attention", "memory"),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_weights_are_one_a_unit_and_non_negative_in_the_states_dtype_on_its_device(
    name: str, dtype: torch.dtype, device: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    spec = make_spec(dtype=dtype, device=torch.device(device))
    teacher = experienced(name, spec, make_state, dtype=dtype, device=device)
    state = make_state(7, dtype=dtype, device=device)
    weights = teacher(state)
    assert weights.shape == (7,)
    assert weights.dtype == dtype
    assert weights.device == state.loss.device
    assert bool(weights.isfinite().all())
    assert bool((weights >= 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_have_the_losses_dtype_where_the_teacher_has_another(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    teacher = experienced(name, make_spec(), make_state)
    assert teacher(make_state(dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_extreme_states_give_finite_weights_and_gradients(
    name: str, dtype: torch.dtype, make_spec: MakeSpec, make_state: MakeState
) -> None:
    for seen in (False, True):
        spec = make_spec(dtype=dtype)
        teacher = experienced(name, spec, make_state, dtype=dtype) if seen else build(name, spec)
        for state in extremes(make_state, dtype):
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
def test_learned_teachers_start_from_weights_of_exactly_one(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    teacher = build(name, make_spec())
    first = teacher(make_state(33))
    assert torch.equal(first, torch.ones(33))
    assert first.requires_grad
    teacher.track(make_state(33))
    teacher.observe(make_state(8, seed=1))
    assert torch.equal(teacher(make_state(33)), torch.ones(33))


@pytest.mark.parametrize("name", LEARNED)
def test_gradients_reach_every_parameter(name: str, make_spec: MakeSpec, make_state: MakeState) -> None:
    teacher = experienced(name, make_spec(**SIZES), make_state)
    state = make_state(40, seed=5)
    (teacher(state) * torch.linspace(-1, 1, 40).sin()).sum().backward()
    still = [n for n, p in teacher.named_parameters() if p.grad is None or not bool((p.grad != 0).any())]
    assert still == []


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_teacher_gives_the_same_weights_and_goes_on_alike(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    teacher, fresh = experienced(name, make_spec(), make_state), build(name, make_spec(), seed=4)
    fresh.load_state_dict(snapshot(teacher))
    for seed in (7, 8):
        assert torch.equal(teacher(make_state(seed=seed)), fresh(make_state(seed=seed)))
        for one in (teacher, fresh):
            one.track(make_state(seed=seed))
            one.observe(make_state(seed=seed + 2))
    assert_same(snapshot(teacher), snapshot(fresh))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_and_any_other_size_are_weighed(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    teacher = experienced(name, make_spec(), make_state)
    for units in (1, 2, 600):
        state = make_state(units)
        assert teacher(state).shape == (units,)
        assert bool(teacher(state).isfinite().all())
        teacher.track(state)
        teacher.observe(state)


@pytest.mark.parametrize("name", NAMES)
def test_weighing_changes_neither_the_teacher_nor_the_state_nor_the_global_generator(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    teacher, state = experienced(name, make_spec(), make_state), make_state()
    kept, given, random = snapshot(teacher), copy.deepcopy(state), torch.get_rng_state()
    first, second = teacher(state), teacher(state)
    assert torch.equal(first, second)
    teacher.track(state)
    teacher.observe(state)
    assert torch.equal(random, torch.get_rng_state())
    assert torch.equal(state.loss, given.loss)
    assert all(torch.equal(state.features[tap], given.features[tap]) for tap in state.features)
    fresh = build(name, make_spec())
    fresh.load_state_dict(kept)
    before = snapshot(fresh)
    fresh(state)
    assert_same(before, snapshot(fresh))


@pytest.mark.parametrize("name", LEARNED)
def test_looking_at_a_batch_leaves_an_older_graph_valid(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    teacher = experienced(name, make_spec(), make_state)
    weights = teacher(make_state())
    teacher.track(make_state(seed=1))
    teacher.observe(make_state(seed=2))
    weights.sum().backward()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_the_order_of_the_batch_does_not_matter(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    teacher = experienced(name, make_spec(dtype=torch.float64), make_state, dtype=torch.float64)
    state = make_state(20, dtype=torch.float64)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    shuffled = StudentState(
        state.loss[order],
        state.size[order],
        state.outputs[order],
        {tap: value[order] for tap, value in state.features.items()},
        state.targets[order],
        state.index[order],
        state.progress,
    )
    torch.testing.assert_close(teacher(shuffled), teacher(state)[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_one_tap_is_enough(name: str, make_spec: MakeSpec, make_state: MakeState) -> None:
    teacher = experienced(name, make_spec({"deep": 6}), make_state)
    assert bool(teacher(make_state()).isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_without_taps_a_teacher_works_or_says_what_to_do(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    if name in {"knn", "mlp", "attention", "memory"}:
        with pytest.raises(ValueError, match=rf"'{name}'.*taps="):
            build(name, make_spec({}))
    else:
        assert experienced(name, make_spec({}), make_state, taps={})(make_state(taps={})).shape == (12,)


@pytest.mark.parametrize(("name", "act"), [("knn", "observe"), ("memory", "observe"), ("mlp", "forward")])
def test_a_student_without_the_teachers_tap_is_named(
    name: str, act: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    look = getattr(build(name, make_spec({"deep": 6})), act)
    with pytest.raises(KeyError, match=r"'deep'.*Did you mean 'deeper'"):
        look(make_state(taps={"deeper": 6}))


@pytest.mark.parametrize("name", [n for n in NAMES if "normalize" in teachers.options(n)])
def test_normalised_weights_have_mean_one_and_an_unknown_way_is_refused(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    plain, scaled = (build_teacher(name, make_spec(), normalize=how) for how in ("none", "batch"))
    scaled.load_state_dict(experienced(name, make_spec(), make_state).state_dict())
    plain.load_state_dict(scaled.state_dict())
    state = make_state(50)
    torch.testing.assert_close(scaled(state).mean(), torch.ones(()))
    torch.testing.assert_close(scaled(state), plain(state) / plain(state).mean())
    with pytest.raises(TypeError, match=r"'none' \| 'batch', got 'bacth'"):
        build_teacher(name, make_spec(), normalize="bacth")
