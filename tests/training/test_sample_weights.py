"""What is known of each sample: means after the warm-up, probes apart, old files."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from metaweight.core.weights import auroc, mean_after
from metaweight.data.origins import Origins
from metaweight.training.callbacks import WeightHistory
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights, from_arrays, to_arrays, write_weights

NAN = math.nan
WEIGHTS = torch.tensor([[1.0, 1.0, 1.0, NAN], [0.5, 2.0, NAN, 0.25], [1.5, 1.0, NAN, NAN]])
SAMPLES = SampleWeights(
    index=torch.tensor([3, 1, 2, 7]),
    weights=WEIGHTS,
    loss=10 * WEIGHTS,
    given=torch.tensor([0, 1, 2, 1]),
    clean=torch.tensor([1, 1, 2, 0]),
    flipped=torch.tensor([True, False, False, True]),
    probabilities=torch.eye(3)[[1, 1, 2, 0]],
    probe=torch.tensor([0, 0, 0, 2], dtype=torch.int8),
    warmup=1,
    origins=Origins.of("a.csv", [5, 6, 7, 9]),
)


def table(samples: SampleWeights) -> list[dict[str, str]]:
    """The rows of weights.csv."""
    file = io.BytesIO()
    write_weights(file, samples)
    return list(csv.DictReader(io.StringIO(file.getvalue().decode())))


def test_a_mean_is_that_of_the_epochs_after_the_warm_up() -> None:
    """By hand; the third was seen in the warm-up alone."""
    means = SAMPLES.mean_weight()
    torch.testing.assert_close(means, torch.tensor([1.0, 1.5, NAN, 0.25]), equal_nan=True)
    torch.testing.assert_close(SAMPLES.mean_loss(), 10 * means, equal_nan=True)
    with_warmup = dataclasses.replace(SAMPLES, warmup=0).mean_weight()
    torch.testing.assert_close(with_warmup, torch.tensor([1.0, 4 / 3, 1.0, 0.25]))
    history = WeightHistory(4, 3, warmup=1)
    history.load_state_dict({"weights": WEIGHTS, "loss": 10 * WEIGHTS})
    torch.testing.assert_close(history.mean_weight(), means, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(history.mean_loss(), SAMPLES.mean_loss(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("warmup", [2, 3, 9])
def test_of_a_run_that_ended_in_its_warm_up_all_epochs_count(warmup: int) -> None:
    values = torch.tensor([[1.0, 3.0], [2.0, NAN], [NAN, NAN]])
    torch.testing.assert_close(mean_after(values, warmup), torch.tensor([1.5, 3.0]))


def test_probes_are_no_rows_of_the_users() -> None:
    own = SAMPLES.own
    assert own.index.tolist() == [3, 1, 2]
    assert own.weights.shape == (3, 3)
    assert own.probabilities is not None
    assert own.probabilities.shape == (3, 3)
    assert own.warmup == 1
    assert own.origins is not None
    assert own.origins.row.tolist() == [5, 6, 7]
    rows = table(SAMPLES)
    assert [(row["index"], row["row"], row["mean_weight"]) for row in rows] == [
        ("3", "5", "1"),
        ("1", "6", "1.5"),
        ("2", "7", ""),
    ]
    fates = SAMPLES.fates()
    assert fates is not None
    assert fates.corrected == 1.0
    assert fates == dataclasses.replace(own, probe=None).fates()
    plain = dataclasses.replace(SAMPLES, probe=None)
    assert plain.own is plain


def test_all_comes_back_from_a_run_folder_and_an_older_file_has_no_warm_up(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    folder.save_weights(**vars(SAMPLES))
    read = folder.read_weights()
    assert read.warmup == 1
    assert read.probe is not None
    assert read.probe.tolist() == [0, 0, 0, 2]
    torch.testing.assert_close(read.mean_weight(), SAMPLES.mean_weight(), rtol=0, atol=0, equal_nan=True)
    older = {name: value for name, value in to_arrays(SAMPLES).items() if name not in ("warmup", "probe")}
    again = from_arrays(older)
    assert (again.warmup, again.probe) == (0, None)
    assert again.own is again


def test_numbers_are_targets_too() -> None:
    given = torch.tensor([0.1, 250000.5, NAN], dtype=torch.float32)
    samples = SampleWeights(torch.arange(3), WEIGHTS[:, :3], WEIGHTS[:, :3], given=given, said=given + 1)
    rows = table(samples)
    assert [row["given_label"] for row in rows] == ["0.1", "250000.5", ""]
    assert samples.predicted() is samples.said
    with pytest.raises(ValueError, match=r"said of 3 samples has shape \(3,\), got \(2,\)"):
        SampleWeights(torch.arange(3), WEIGHTS[:, :3], WEIGHTS[:, :3], said=torch.ones(2))


def test_what_a_warm_up_says_of_nobody_does_not_blur_who_is_found() -> None:
    """Weights of a warm-up are all 1: with them the means lie closer, and unseen samples look ordinary."""
    draw = torch.Generator().manual_seed(0)
    flipped = torch.arange(40) < 10
    late = torch.where(flipped, 0.4, 1.2) + 0.1 * torch.rand(2, 40, generator=draw)
    weights = torch.cat([torch.ones(3, 40), late])
    samples = SampleWeights(torch.arange(40), weights, weights, warmup=3)
    assert auroc(samples.mean_weight(), flipped) == 1.0
    np.testing.assert_allclose(samples.mean_weight(), late.mean(dim=0), rtol=1e-6)
