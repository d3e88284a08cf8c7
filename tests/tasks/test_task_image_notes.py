"""The table of what became of wrong labels, from run folders written by hand."""

from __future__ import annotations

from pathlib import Path

import torch

from metaweight.tasks.config import ImageConfig
from metaweight.tasks.image.notes import notes
from metaweight.tasks.outcome import Finished, Outcome
from metaweight.training.history import History
from metaweight.training.run_folder import RunFolder

CLEAN = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
GIVEN = torch.tensor([1, 1, 1, 1, 1, 1, 1, 1, 2, 2])  # the first four are wrong


def finished(path: Path, arm: str, seed: int, says: list[int], *, noise: str = "flip@0.4") -> Finished:
    folder = RunFolder.create(path / f"{noise}.{arm}.{seed}", {})
    rows = torch.ones(2, 10)
    folder.save_weights(
        index=torch.arange(10),
        weights=rows,
        loss=rows,
        given=CLEAN if noise == "none" else GIVEN,
        clean=CLEAN,
        flipped=(CLEAN != GIVEN) & (noise != "none"),
        probabilities=torch.nn.functional.one_hot(torch.tensor(says), 3).float(),
    )
    return Finished(ImageConfig(seed=seed), noise, arm, Outcome({}, History()), folder.path)


def test_a_line_is_the_mean_over_seeds_and_a_kind_without_wrong_labels_has_no_table(tmp_path: Path) -> None:
    right = [1, 1, 1, 1, 2, 2]
    runs = [
        finished(tmp_path, "uniform", 0, [1, 1, 1, 1, *right]),
        finished(tmp_path, "uniform", 1, [1, 1, 0, 2, *right]),
        finished(tmp_path, "mlp", 0, [0, 0, 0, 2, 1, 1, 1, 2, 2, 0]),
        finished(tmp_path, "uniform", 0, [1] * 10, noise="none"),
    ]
    (table,) = notes(runs)
    title, _, head, _, *lines = table.split("\n")
    assert title == "**What became of the wrong labels, noise flip@0.4**"
    heads = ("teacher", "learnt by heart, %", "right class said, %", "right labels said, %")
    assert head == f"| {' | '.join((*heads, 'share of the weight, %'))} |"
    assert lines == ["| uniform | 75 | 12 | 100 | 40 |", "| mlp | 0 | 75 | 67 | 40 |"]
