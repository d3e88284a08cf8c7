"""What a teacher says of rows that it never met: nobody's memory, no batch, no order in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from metaweight import teachers
from metaweight.core.contracts import MetaweightError, StateSpec, StudentState
from metaweight.teachers import Teacher, build_teacher
from metaweight.teachers.base import Recipe, options, registry
from metaweight.teachers.inputs import average_rank
from metaweight.teachers.per_sample import PerSample
from metaweight.teachers.rating import lasting_state, rate, rating_teacher, recipe_of, recipe_record
from metaweight.testing.states import class_spec, class_state, mapped, sentence_spec, sentence_state

UNITS = 40
RATING = [name for name in teachers.names() if not registry[name].unrated and name != "auto"]
OF_CLASSES_ALONE = {"class-balanced", "cmw-net"}
CASES = [(name, False) for name in RATING] + [(n, True) for n in RATING if n not in OF_CLASSES_ALONE]


def experienced(name: str, *, sentences: bool, samples: int = 100, seed: int = 0) -> Teacher:
    """Taught at random: parameters, trusted states and running means are not what they are at first."""
    make = sentence_state if sentences else class_state
    spec = (sentence_spec if sentences else class_spec)(samples=samples)
    torch.manual_seed(7)
    teacher = build_teacher(name, spec)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    for visit in range(3):
        teacher.observe(make(30, seed=50 + visit))
        state = replace(make(UNITS, seed=seed + visit), index=torch.arange(UNITS))
        teacher(state)
        teacher.take_hypergradient(state.index, torch.randn(UNITS))
        teacher.track(state)
    return teacher


def new_state(*, sentences: bool) -> StudentState:
    make = sentence_state if sentences else class_state
    return replace(make(UNITS, seed=9), index=torch.arange(UNITS), progress=1.0)


def part(state: StudentState, rows: Tensor) -> StudentState:
    """Some units as a batch of their own: the losses of sentences are per token of their batch."""
    own = mapped(state, lambda value: value[rows])
    return replace(own, loss=own.loss * state.size.mean() / own.size.mean())


def rated(teacher: Teacher, state: StudentState, *parts: Tensor) -> Tensor:
    """[U], by index."""
    assert teacher.recipe is not None
    states = lambda: iter([part(state, rows) for rows in parts])  # noqa: E731
    index, weights = rate(teacher.recipe, lasting_state(teacher), len(state), states)
    whole = torch.full((len(state),), torch.nan, dtype=weights.dtype)
    whole[index] = weights
    return whole


@pytest.mark.parametrize(("name", "sentences"), CASES)
def test_weights_depend_neither_on_batches_nor_on_the_order(name: str, sentences: bool) -> None:
    teacher, state = experienced(name, sentences=sentences), new_state(sentences=sentences)
    everything = torch.arange(UNITS)
    whole = rated(teacher, state, everything)
    assert whole.std() > 1e-3 or name == "class-balanced"
    shuffled = torch.randperm(UNITS, generator=torch.Generator().manual_seed(1))
    for parts in (everything.split(1), everything.split(7), [shuffled], shuffled.split(16)):
        assert torch.allclose(rated(teacher, state, *parts), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "sentences"), [case for case in CASES if case[0] != "jury"])
def test_a_teacher_without_memory_of_samples_gives_what_its_forward_gives(name: str, sentences: bool) -> None:
    teacher, state = experienced(name, sentences=sentences), new_state(sentences=sentences)
    assert not any(isinstance(module, PerSample) for module in teacher.modules())
    with torch.no_grad():
        by_hand = teacher(state)
    assert torch.allclose(rated(teacher, state, torch.arange(UNITS)), by_hand, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sentences", [False, True])
def test_new_rows_read_no_other_rows_memory(sentences: bool) -> None:
    """Row 0 of new rows weighs as sample 90, which the jury knows of and never saw."""
    teacher, state = experienced("jury", sentences=sentences), new_state(sentences=sentences)
    visited, unvisited = (replace(state, index=state.index + first) for first in (0, 60))
    with torch.no_grad():
        remembered, fresh = teacher(visited), teacher(unvisited)
    assert (remembered - fresh).abs().max() > 0.1  # what is remembered of sample 0 does count for it
    assert torch.allclose(rated(teacher, state, torch.arange(UNITS)), fresh, atol=1e-5, rtol=0)


@pytest.mark.parametrize("samples", [UNITS, 100])
def test_no_table_of_samples_is_kept(samples: int) -> None:
    teacher = experienced("jury", sentences=False, samples=samples)
    kept = lasting_state(teacher)
    tables = {name for name in teacher.state_dict() if name.startswith("signals.")}
    assert len(tables) == 2
    assert set(kept) == set(teacher.state_dict()) - tables
    assert teacher.recipe is not None
    new = rating_teacher(teacher.recipe, kept, UNITS)
    for part_ in new.modules():
        if isinstance(part_, PerSample):
            assert part_.samples >= UNITS
            assert all(not table.any() for table in part_.buffers())


def test_weights_are_normalised_over_all_new_rows_where_training_does_it_in_a_batch() -> None:
    state = new_state(sentences=False)
    for name, normalised in (("jury", True), ("mw-net", True), ("memory", False)):
        weights = rated(experienced(name, sentences=False), state, *torch.arange(UNITS).split(3))
        assert (abs(float(weights.mean()) - 1) < 1e-5) is normalised


@pytest.mark.parametrize("name", ["l2rw", "recall", "uniform", "random", "self-paced"])
def test_a_teacher_that_cannot_says_why_and_what_to_take_instead(name: str) -> None:
    recipe = Recipe(name, class_spec(), {})
    with pytest.raises(ValueError, match=rf"'{name}' cannot rate .* take evidence, memory, jury or surface"):
        rating_teacher(recipe, {}, 3)


@pytest.mark.parametrize("samples", [3, 5])
def test_a_teacher_that_keeps_samples_elsewhere_is_refused(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many new rows as training rows: a table that fits by chance would be read by the wrong rows."""

    class Own(Teacher):
        def __init__(self, spec: StateSpec) -> None:
            super().__init__()
            self.score = nn.Parameter(torch.zeros(spec.samples or 1))

        def forward(self, state: StudentState) -> Tensor:
            return 2 * self.score[state.index].sigmoid()

    monkeypatch.setitem(registry._parts, "own-table", Own)
    teacher = build_teacher("own-table", class_spec(samples=5))
    assert teacher.recipe is not None
    with pytest.raises(MetaweightError, match="keeps 'score' of every training sample"):
        rating_teacher(teacher.recipe, lasting_state(teacher), samples)


def test_a_recipe_is_as_json_holds_it() -> None:
    import json

    for sentences in (False, True):
        recipe = experienced("memory", sentences=sentences).recipe
        assert recipe is not None
        assert recipe_of(json.loads(json.dumps(recipe_record(recipe))), torch.device("cpu")) == recipe


def test_the_recipe_of_auto_is_that_of_the_teacher_that_it_chose() -> None:
    recipe = build_teacher("auto", class_spec()).recipe
    assert recipe is not None
    assert (recipe.name, recipe.options) == ("jury", options("jury"))
    assert recipe.options["normalize"] == "batch"


def test_rating_leaves_the_random_state_alone() -> None:
    teacher, state = experienced("memory", sentences=False), new_state(sentences=False)
    before = torch.get_rng_state()

    def states() -> Iterator[StudentState]:
        return iter([state])

    assert teacher.recipe is not None
    rate(teacher.recipe, lasting_state(teacher), UNITS, states)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_rank_among_all_is_that_of_the_whole_batch() -> None:
    values = torch.tensor([3.0, 1.0, 1.0, 5.0])
    assert average_rank(values).tolist() == pytest.approx([1 / 3, -2 / 3, -2 / 3, 1])
    for rows in ([0], [1, 3]):
        assert torch.equal(average_rank(values[rows], values), average_rank(values)[rows])
    assert average_rank(values[:1], values[:1]).tolist() == [0]
