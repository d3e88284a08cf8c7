"""What every registered teacher must hold, a newly registered one too; and what ours hold beyond it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from metaweight import teachers
from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers import Teacher, build_teacher
from metaweight.testing import check_teacher
from metaweight.testing.teacher_subject import Subject

MakeSpec = Callable[..., StateSpec]
MakeState = Callable[..., StudentState]
NAMES = [name for name in teachers.names() if name != "auto"]  # which is one of the others
LEARNED = [name for name in NAMES if teachers.registry[name].learns and name != "l2rw"]
TAPPED = [name for name in NAMES if teachers.registry[name].sees == "states" and name != "jury"]
"""Those that cannot do without; ``jury`` leaves out what is not there."""
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
if not torch.cuda.is_available():
    DEVICES = DEVICES[:1]


def build(name: str, spec: StateSpec) -> Teacher:
    torch.manual_seed(3)
    return build_teacher(name, spec)


@pytest.mark.parametrize("name", teachers.names())
@pytest.mark.parametrize("device", DEVICES)
def test_a_teacher_keeps_its_contract(name: str, device: str) -> None:
    check_teacher(name, device=device)


def test_the_built_in_teachers_are_registered() -> None:
    assert set(NAMES) >= {
        *("uniform", "random", "class-balanced", "focal", "self-paced", "knn", "l2rw"),
        *("mw-net", "cmw-net", "surface", "mlp", "attention", "memory", "recall"),
    }


def test_the_taught_and_the_tapped_are_those_that_we_know() -> None:
    assert set(LEARNED) == {
        *("mw-net", "cmw-net", "surface", "mlp", "attention", "memory", "recall", "jury"),
    }
    assert set(TAPPED) == {"knn", "evidence", "mlp", "attention", "memory"}


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_have_the_losses_dtype_where_the_teacher_has_another(
    name: str, make_state: MakeState
) -> None:
    teacher = Subject(teachers.registry[name], sentences=False).experienced()
    assert teacher(make_state(dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("name", LEARNED)
def test_learned_teachers_start_from_weights_of_exactly_one(
    name: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    teacher = build(name, make_spec())
    assert torch.equal(teacher(make_state(33)), torch.ones(33))
    if name == "jury":  # which starts from evidence, once there is some
        return
    teacher.track(make_state(33))
    teacher.observe(make_state(8, seed=1))
    assert torch.equal(teacher(make_state(33)), torch.ones(33))


@pytest.mark.parametrize("name", TAPPED)
def test_without_taps_a_teacher_of_states_is_refused_by_name(name: str, make_spec: MakeSpec) -> None:
    with pytest.raises(ValueError, match=rf"'{name}'.*taps="):
        build(name, make_spec({}))


@pytest.mark.parametrize("name", TAPPED)
def test_one_tap_is_enough(name: str, make_spec: MakeSpec, make_state: MakeState) -> None:
    teacher = build(name, make_spec({"deep": 6}))
    teacher.observe(make_state(10, seed=1))
    assert teacher(make_state()).shape == (12,)


@pytest.mark.parametrize(("name", "act"), [("knn", "observe"), ("memory", "observe"), ("mlp", "forward")])
def test_a_student_without_the_teachers_tap_is_named(
    name: str, act: str, make_spec: MakeSpec, make_state: MakeState
) -> None:
    look = getattr(build(name, make_spec({"deep": 6})), act)
    with pytest.raises(KeyError, match=r"'deep'.*Did you mean 'deeper'"):
        look(make_state(taps={"deeper": 6}))


NORMALISING = [name for name in NAMES if "normalize" in teachers.options(name)]


@pytest.mark.parametrize("name", NORMALISING)
def test_normalised_weights_have_mean_one(name: str, make_state: MakeState) -> None:
    subject = Subject(teachers.registry[name], sentences=False)
    plain, scaled = (build_teacher(name, subject.spec(), normalize=how) for how in ("none", "batch"))
    for teacher in (plain, scaled):
        teacher.load_state_dict(subject.experienced().state_dict())
    state = make_state(50)
    torch.testing.assert_close(scaled(state).mean(), torch.ones(()))
    torch.testing.assert_close(scaled(state), plain(state) / plain(state).mean())


@pytest.mark.parametrize("name", NORMALISING)
def test_an_unknown_way_to_normalise_is_refused(name: str, make_spec: MakeSpec) -> None:
    with pytest.raises(TypeError, match=r"'none' \| 'batch', got 'bacth'"):
        build_teacher(name, make_spec(), normalize="bacth")
