"""Weights by sample, summarised: against NumPy and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from grid_folders import BASE

from metaweight.report.page.gallery import counted, wall
from metaweight.report.page.samples import DOTS, LOWEST, weight_view
from metaweight.report.page.study import ReadRun
from metaweight.report.suspects import Suspects
from metaweight.training.sample_weights import SampleWeights

NAN = float("nan")
RUN = ReadRun("x", "mlp", "uniform@0.4", BASE, Path("nowhere"), "finished", {})


def samples(n: int = 40, epochs: int = 4, **changed) -> SampleWeights:
    g = torch.Generator().manual_seed(0)
    flipped = torch.rand(n, generator=g) < 0.4
    fields = {
        "index": torch.arange(n) + 100,
        "weights": 2 * torch.rand(epochs, n, generator=g),
        "loss": torch.rand(epochs, n, generator=g),
        "flipped": flipped,
    }
    return SampleWeights(**{**fields, **changed})


def test_quartiles_are_those_of_each_kind() -> None:
    given = samples()
    view = weight_view(RUN, given)
    assert view.kinds == ("clean", "flipped")
    for mask, quartiles in zip((~given.flipped, given.flipped), view.quartiles, strict=True):
        part = given.weights.double().numpy()[:, mask.numpy()]
        for quarter, row in ((25, quartiles.low), (50, quartiles.median), (75, quartiles.high)):
            np.testing.assert_allclose(row, np.percentile(part, quarter, axis=1), atol=1e-12)


def test_an_epoch_that_saw_nothing_is_a_gap() -> None:
    weights = samples().weights
    weights[1] = NAN
    view = weight_view(RUN, samples(weights=weights))
    assert all(np.isnan(q.median).tolist() == [False, True, False, False] for q in view.quartiles)


def test_dots_are_the_last_epoch_that_saw_a_sample() -> None:
    weights = torch.tensor([[0.1, 0.2, 0.3], [0.4, NAN, 0.6]])
    loss = torch.tensor([[1.0, 2.0, 3.0], [4.0, NAN, 6.0]])
    given = SampleWeights(torch.arange(3), weights, loss)
    view = weight_view(RUN, given)
    assert view.kinds == ("all",)
    np.testing.assert_allclose(view.dots[0].loss, [2, 4, 6])
    np.testing.assert_allclose(view.dots[0].weight, [0.2, 0.4, 0.6], atol=1e-7)


def test_dots_are_thinned_and_keep_both_ends() -> None:
    view = weight_view(RUN, samples(100_000, 2))
    shown = sum(len(dots.loss) for dots in view.dots)
    assert DOTS - 2 <= shown <= DOTS
    everything = samples(100_000, 2)
    for mask, dots in zip((~everything.flipped, everything.flipped), view.dots, strict=True):
        own = everything.loss[-1][mask]
        assert dots.loss[0] == float(own.min())
        assert dots.loss[-1] == float(own.max())


def test_median_line_of_a_function_of_the_loss_is_the_function() -> None:
    loss = torch.linspace(0, 3, 24 * 5).unsqueeze(0)
    view = weight_view(RUN, SampleWeights(torch.arange(120), 2 - loss / 2, loss))
    np.testing.assert_allclose(view.middle.weight, 2 - view.middle.loss / 2, atol=1e-6)
    assert len(view.middle.loss) == 24


def test_lowest_are_sorted_by_mean_then_index_and_unseen_ones_left_out() -> None:
    weights = torch.ones(2, 30)
    weights[:, 7] = 0.5
    weights[:, 3] = 0.25
    weights[:, 4] = NAN
    weights[0, 3] = NAN
    view = weight_view(RUN, SampleWeights(torch.arange(30) + 100, weights, torch.ones(2, 30)))
    assert [s.index for s in view.lowest[:4]] == [103, 107, 100, 101]
    assert view.lowest[0].mean == 0.25
    assert np.isnan(view.lowest[0].history[0])
    assert len(view.lowest) == LOWEST
    assert view.unseen == 1
    assert 104 not in {s.index for s in view.lowest}


def test_cards_stand_in_the_order_of_the_suspects() -> None:
    """Many weigh the same, as at a teacher's floor: the higher loss comes first, there and here."""
    given = samples(60, weights=torch.tensor([0.0, 0.5, 1.0]).repeat(4, 20), warmup=1)
    order = Suspects(given).order[:LOWEST]
    view = weight_view(RUN, given)
    assert [sample.row for sample in view.lowest] == order.tolist()
    losses = given.mean_loss()[order[:20]]
    assert bool((losses[:-1] >= losses[1:]).all())


def test_infinite_weights_and_lost_losses_are_counted_and_left_out() -> None:
    given = samples()
    given.weights[0, 0] = float("inf")
    given.loss[1, 1] = NAN
    view = weight_view(RUN, given)
    assert view.broken == 2
    assert all(np.isfinite(q.high).all() for q in view.quartiles)
    assert all(np.isfinite(d.loss).all() and np.isfinite(d.weight).all() for d in view.dots)


def test_what_a_remedy_dropped_is_not_broken() -> None:
    given = samples()
    given.weights[:, 2] = 0
    given.loss[:, 2] = NAN
    view = weight_view(RUN, given)
    assert (view.broken, view.dropped) == (0, 1)
    given.loss[1, 2] = float("inf")
    assert (weight_view(RUN, given).broken, weight_view(RUN, given).dropped) == (1, 0)


@pytest.mark.parametrize(
    "weights", [torch.ones(3, 5), torch.full((3, 5), NAN), torch.ones(0, 5)], ids=["ones", "unseen", "empty"]
)
def test_weights_that_are_all_the_same_are_flat(weights: torch.Tensor) -> None:
    view = weight_view(RUN, SampleWeights(torch.arange(5), weights, weights.clone()))
    assert view.flat


def test_labels_are_named_and_pictures_are_those_of_the_data() -> None:
    from metaweight.tasks import tasks

    config = replace(BASE, noise="uniform")
    prepared = tasks["image"].prepare(config)
    index = prepared.splits.train
    n = len(index)
    given = samples(
        n,
        index=index,
        given=prepared.noise.labels,
        clean=prepared.images.train_labels[index],
        flipped=prepared.noise.flipped,
        probabilities=torch.eye(10)[(prepared.noise.labels + 1) % 10],
    )
    run = replace(RUN, config=config)
    shown = wall(weight_view(run, given), "")
    assert shown.note == ""
    for card in shown.cards:
        row = int((index == card.index).nonzero())
        assert card.given == str(int(given.given[row]))
        assert card.predicted == str((int(given.given[row]) + 1) % 10)
        assert card.clean == str(int(given.clean[row]))
        assert card.verdict == ("flipped" if given.flipped[row] else "clean")
        assert _pixels(card.exhibit.picture).tolist() == prepared.images.train_images[card.index, 0].tolist()


def _pixels(uri: str) -> np.ndarray:
    import base64
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


def test_data_that_is_gone_or_another_gives_a_note_and_no_picture() -> None:
    wrong = samples(clean=torch.full((40,), 11))
    other = wall(weight_view(RUN, wrong), "")
    assert "not what this run was trained on" in other.note
    gone = wall(weight_view(replace(RUN, config=replace(BASE, data="mnist", data_dir="/nowhere")), wrong), "")
    assert "cannot be read here" in gone.note
    assert not any(card.exhibit.picture for card in (*other.cards, *gone.cards))
    assert other.cards[0].clean == "11"


def test_counts_in_words() -> None:
    assert counted(24, 24) == "All of them are bad"
    assert counted(0, 24) == "None of them are bad"
    assert counted(1, 24) == "1 of them is bad"
    assert counted(3, 24) == "3 of them are bad"
