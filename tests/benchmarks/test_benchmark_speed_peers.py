"""Peers of the speed benchmark: a loop by hand against ours, wrong and missing libraries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from rich.console import Console
from slowly import slowly

import metaweight as mw
from benchmarks.speed.exactness import Exactness
from benchmarks.speed.facts import try_all
from benchmarks.speed.iterate import prepare
from benchmarks.speed.peers import Gradient, Peer, Step, Task, peers
from benchmarks.speed.peers.higher_loop import prepare as by_hand
from benchmarks.speed.start import in_dtype, random_pair, warm_start
from benchmarks.speed.variants import PLAIN, Setting, Variant

TINY = Setting("mlp", batch=6, meta_batch=4, threads=1)
FOLDER = "benchmarks.speed.peers"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A peer ``fake`` whose ``prepare`` is the hand-written loop until a test gives it another."""
    module = ModuleType(f"{FOLDER}.fake")
    module.prepare = by_hand  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with peers.temporarily("fake", Peer("fake", "fake-peer", "pip install fake-peer")):
        yield module


@pytest.mark.parametrize("model", ["mlp", "convnet", *slowly("transformer-tiny")])
def test_a_loop_by_hand_agrees_with_our_engine(model: str) -> None:
    """Momentum and weight decay, or Adam, in the virtual step; BatchNorm in train mode in the convnet."""
    exactness = Exactness(Setting(model, batch=6, meta_batch=4, threads=1))
    loop, ours = (
        [exactness.gradient(v, dtype) for dtype in (torch.float64, torch.float32)]
        for v in (Variant(peer="higher-loop"), Variant("higher"))
    )
    assert (loop[0] - ours[0]).norm() < 1e-10 * ours[0].norm()
    assert (loop[1] - ours[1]).norm() < 1e-5 * ours[1].norm()


@pytest.mark.parametrize("model", ["mlp", "convnet"])
def test_a_loop_by_hand_trains_the_same_student(model: str) -> None:
    """Two iterations, without dropout: student and teacher end where ours do."""
    setting = Setting(model, batch=6, meta_batch=4, threads=1)
    ends = []
    for variant in (Variant(peer="higher-loop"), Variant("higher")):
        start, random = warm_start(setting, torch.float64), torch.Generator().manual_seed(0)
        iterate = prepare(variant, start, setting)
        for _ in range(2):
            train, meta = (in_dtype(b, torch.float64) for b in random_pair(setting, random))
            iterate([train], meta)
        # the loop's second forward pass moves the running statistics again: parameters only
        ends.append([*start.module.parameters(), *start.teacher.parameters()])
    for loop, ours in zip(*ends, strict=True):
        torch.testing.assert_close(loop, ours, rtol=1e-9, atol=1e-12)


def test_every_parameter_of_the_teacher_counts_in_a_deviation() -> None:
    gradient = Exactness(TINY).gradient(Variant("higher"), torch.float64)
    assert (gradient != 0).float().mean() > 0.4  # a hidden unit that is off has no gradient


def test_a_wrong_peer_is_seen(fake: ModuleType) -> None:
    """Its virtual step is half as long as it should be."""

    def prepare(task: Task) -> Step:
        step = by_hand(task)

        def wrong(train: mw.Batch, meta: mw.Batch) -> Gradient:
            return tuple(0.5 * g for g in step(train, meta))

        return wrong

    right = Exactness(TINY).of(Variant(peer="fake"))
    fake.prepare = prepare  # type: ignore[attr-defined]
    off = Exactness(TINY).of(Variant(peer="fake"))
    assert right is not None
    assert right.exact is not None
    assert right.exact < 1e-10
    assert off is not None
    assert off.exact == pytest.approx(0.5)
    assert off.timed == pytest.approx(0.5, rel=1e-4)


def test_a_peer_that_is_not_there_has_a_row(monkeypatch: pytest.MonkeyPatch, fake: ModuleType) -> None:
    monkeypatch.delitem(sys.modules, fake.__name__)
    monkeypatch.setitem(sys.modules, "torchopt", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"{FOLDER}.torchopt_sgd", raising=False)
    variants = [PLAIN, Variant(peer="fake"), Variant(peer="torchopt")]
    iterates, facts = try_all(variants, TINY, Console(quiet=True))
    assert list(iterates) == [PLAIN]
    assert facts["fake"].refused == "not installed (pip install fake-peer)"
    assert str(facts["torchopt"].refused).startswith("not installed (pip install --no-deps torchopt==")


@pytest.mark.parametrize("when", ["building", "the first iteration"])
def test_a_peer_that_breaks_has_a_row(fake: ModuleType, when: str) -> None:
    def broken(*_: object) -> Gradient:
        raise AttributeError("module 'torch' has no attribute 'six'")

    fake.prepare = broken if when == "building" else lambda _task: broken  # type: ignore[attr-defined]
    iterates, facts = try_all([Variant(peer="fake")], TINY, Console(quiet=True))
    assert iterates == {}
    assert facts["fake"].refused == "fails: AttributeError: module 'torch' has no attribute 'six'"


def test_every_peer_says_how_it_is_installed() -> None:
    for name in peers.names():
        assert peers[name].install
        assert peers[name].distribution
