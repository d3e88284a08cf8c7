"""Slopes through whole runs against central differences of runs that torch's optimizers take, in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from slowly import slowly
from whole_runs import OPTIMIZERS, SAMPLES, Rows, case, mlp, off, weights_of

import metaweight as mw


@pytest.mark.parametrize(
    ("optimizer", "epochs"),
    [*((name, 8) for name in OPTIMIZERS), *slowly(*((name, 50) for name in OPTIMIZERS))],
)
def test_a_run_by_every_optimizer(optimizer: str, epochs: int) -> None:
    assert off(mlp(optimizer=optimizer, epochs=epochs)) <= 1e-6


@pytest.mark.parametrize(
    ("student", "optimizer", "mode", "epochs"),
    [
        ("batchnorm-resnet", "sgd", "eval", 12),
        ("batchnorm-resnet", "adamw", "eval", 8),
        ("batchnorm-resnet", "sgd", "train", 8),
        *slowly(
            ("batchnorm-resnet", "sgd", "eval", 50),
            ("batchnorm-resnet", "adamw", "eval", 50),
            ("batchnorm-resnet", "sgd", "train", 50),
            ("groupnorm-resnet", "adam", "eval", 50),
        ),
    ],
)
def test_a_run_of_a_residual_net(student: str, optimizer: str, mode: str, epochs: int) -> None:
    assert off(case(student, optimizer=optimizer, epochs=epochs), mode) <= 1e-6


@pytest.mark.parametrize("student", ["words-dropout", *slowly("encoder-dropout", "gru", "tied-and-frozen")])
def test_dropout_is_drawn_again(student: str) -> None:
    assert off(case(student, optimizer="adam", epochs=12)) <= 1e-6


@pytest.mark.slow
def test_attention_and_augmented_inputs() -> None:
    built = case("encoder-dropout", optimizer="adamw", epochs=6)
    assert off(replace(built, source=Rows(built.source.whole, noise=0.3))) <= 1e-6


def test_the_run_is_the_one_written_out() -> None:
    built = case("batchnorm-resnet", epochs=10)
    weights = weights_of(built)
    run = built.recorded(weights)
    run.record()
    there = built.written_out(weights).state_dict()
    assert all(torch.equal(v, there[name]) for name, v in run.student.module.state_dict().items())


def test_it_is_the_engine_reverse_over_all_steps() -> None:
    """In training mode, whose running statistics nobody reads."""
    built = case("batchnorm-resnet", optimizer="adam", epochs=2, course="constant", max_norm=None)
    run = built.recorded()
    ours = run.influence(built.meta, mode="train")
    module, optimizer = built.start()
    steps = 2 * len(built.source)
    train = [built.source.batch(*divmod(step, len(built.source))) for step in range(steps)]
    weights = torch.ones(SAMPLES, dtype=torch.float64, requires_grad=True)
    rates = [[min((step + 1) / 10, 1.0) * 0.01] for step in range(steps)]
    torch.manual_seed(1)
    found = mw.hypergradient(
        mw.Student(module),
        optimizer,
        train,
        built.meta,
        lambda state: weights[state.index],
        [weights],
        mw.engines.Reverse("snapshots"),
        rates=rates,
    )
    assert torch.allclose(ours.values, found.grads[0], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("checkpoints", ["all", 7, "1MB", *slowly(1, 3, 50)])
def test_which_states_are_kept_does_not_matter(checkpoints: str | int) -> None:
    built = case("words-dropout", optimizer="adam", epochs=3)
    expected = built.recorded().influence(built.meta).values
    assert torch.equal(built.recorded(checkpoints=checkpoints).influence(built.meta).values, expected)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_few_steps(epochs: int) -> None:
    built = mlp(epochs=epochs, course="constant", max_norm=None)
    assert off(replace(built, source=Rows(built.source.whole, SAMPLES))) <= 1e-6


def test_several_losses_at_once_are_each_one_alone() -> None:
    built = case("batchnorm-resnet", epochs=4)
    halves = [built.meta.rows(torch.arange(2)), built.meta.rows(torch.arange(2, 5))]
    both = built.recorded().influence(halves)
    assert both.values.shape == (2, SAMPLES)
    for half, values, loss in zip(halves, both.values, both.losses, strict=True):
        alone = built.recorded().influence(half)
        assert torch.equal(values, alone.values)
        assert torch.equal(loss, alone.losses)


def test_each_row_is_a_question_whose_mean_is_that_of_the_set() -> None:
    built = case("batchnorm-resnet", epochs=4)
    run = built.recorded()
    each, together = run.influence(built.meta, each=True), run.influence(built.meta)
    assert each.values.shape == (5, SAMPLES)
    assert torch.allclose(each.values.mean(0), together.values, rtol=1e-9, atol=1e-15)
    assert torch.allclose(each.losses.mean(), together.losses, rtol=1e-12)


def test_epochs_add_up() -> None:
    built = mlp(epochs=6)
    found = built.recorded().influence(built.meta, by_epoch=True)
    assert found.by_epoch is not None
    assert found.by_epoch.shape == (6, SAMPLES)
    assert torch.allclose(found.by_epoch.sum(0), found.values, rtol=1e-12)
    assert torch.equal(found.harmful(3), found.values.argsort(descending=True)[:3])
    assert torch.equal(found.helpful(3), found.values.argsort()[:3])


def test_the_student_stands_at_the_end_of_the_run_and_draws_go_on_as_if_nothing_was() -> None:
    built = case("words-dropout", optimizer="adam", epochs=3)
    run = built.recorded()
    run.record()
    module = {name: value.clone() for name, value in run.student.module.state_dict().items()}
    random, rate = torch.get_rng_state(), run.optimizer.param_groups[0]["lr"]
    run.influence(built.meta)
    assert all(torch.equal(v, module[name]) for name, v in run.student.module.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert run.optimizer.param_groups[0]["lr"] == rate
    assert run.student.module.training


def test_a_sample_that_no_batch_had_has_no_influence_to_speak_of() -> None:
    built = mlp(epochs=1)
    found = replace(built, source=Rows(built.source.whole, 10)).recorded().influence(built.meta)
    assert int(found.values.isnan().sum()) == SAMPLES - 20
    assert len(found.harmful(SAMPLES)) == 20
