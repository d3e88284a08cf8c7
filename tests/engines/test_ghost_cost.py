"""Engine ``ghost``: products of matrices, what it keeps and for how long, and the real step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ghost_parts import LAYERS, UNITS, Parts, batch, build, shares
from students import batch as words_batch
from students import make
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import metaweight as mw
from metaweight.engines.ghost import Ghost
from metaweight.testing.oracles import relative


def flops(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_a_matrix_product_a_layer_for_the_gradient_and_one_for_the_slopes() -> None:
    module = build(
        lambda: Parts(lambda m, x: m.b(m.a(x).relu()).mean((1, 2)), a=nn.Linear(4, 16), b=nn.Linear(16, 5))
    )
    engine = Ghost()
    ones = torch.ones(UNITS).double()
    shares(module, ones, engine=engine)  # the first batch, with its checks
    forward = flops(lambda: module(*batch(UNITS, 1).inputs))
    first = 2 * UNITS * 3 * 4 * 4 * 16  # needs no gradient of its input
    ours, _, _ = shares(module, ones, engine=engine)
    biases = 2 * UNITS * (16 + 5 + 3)
    assert flops(lambda: shares(module, ones, engine=engine)) == 3 * forward - first + biases
    direction = {name: torch.ones_like(p) for name, p in module.named_parameters()}
    assert flops(lambda: ours.gradient_at(ones)) == forward + biases
    assert flops(lambda: ours.slopes(direction)) == forward  # biases: too small to be counted
    assert flops(lambda: ours.slopes({"a.weight": direction["a.weight"]})) == first


@pytest.mark.parametrize("keep_graph", [False, True])
def test_the_record_lives_as_long_as_the_graph(keep_graph: bool) -> None:
    module = build(LAYERS["conv-strided"])
    engine = Ghost()
    shares(module, torch.ones(UNITS).double(), engine=engine)
    _, _, recorded = shares(module, torch.ones(UNITS).double(), keep_graph=keep_graph, engine=engine)
    assert len(recorded.kept.calls) == (2 if keep_graph else 0)


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_the_real_step_takes_the_gradient_at_the_new_weights_without_a_backward(
    schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for engine in ("forward", "ghost"):
        student, own, _, _ = make("words-dropout", "adam")
        torch.manual_seed(1)
        teacher = mw.build_teacher("mlp", spec=student.spec(words_batch((3, 8), 6, 1)))
        reweighter = mw.Reweighter(
            student,
            teacher,
            optimizer=own,
            teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.05),
            engine=engine,
            schedule=schedule,
            max_norm=0.5,
        )
        with monkeypatch.context() as patch:
            if engine == "ghost":
                patch.setattr(Tensor, "backward", None)
            torch.manual_seed(2)
            for step in range(3):
                report = reweighter.step(words_batch((3, 8), 6, step), words_batch((3, 8), 5, 10 + step))
        state = [*student.module.parameters(), *teacher.parameters(), report.weights]
        found.append(torch.cat([t.detach().flatten() for t in state]))
    assert relative(found[1], found[0]) <= 1e-9
