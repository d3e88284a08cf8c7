"""The table of what became of wrong labels, from results written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import torch

from metaweight.tasks.image.notes import notes
from metaweight.tasks.outcome import Finished, RunResult
from metaweight.training.fates import fates

CLEAN = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
GIVEN = torch.tensor([1, 1, 1, 1, 1, 1, 1, 1, 2, 2])  # the first four are wrong


def finished(arm: str, seed: int, says: list[int], *, noise: str = "flip@0.4") -> Finished:
    given = CLEAN if noise == "none" else GIVEN
    said = fates(torch.tensor(says), given, CLEAN, torch.ones(10))
    return Finished(RunResult(arm, noise, seed, {}, history=(), fates=said), Path())


def test_a_line_is_the_mean_over_seeds_and_a_kind_without_wrong_labels_has_no_table() -> None:
    right = [1, 1, 1, 1, 2, 2]
    runs = [
        finished("uniform", 0, [1, 1, 1, 1, *right]),
        finished("uniform", 1, [1, 1, 0, 2, *right]),
        finished("mlp", 0, [0, 0, 0, 2, 1, 1, 1, 2, 2, 0]),
        finished("uniform", 0, [1] * 10, noise="none"),
    ]
    (table,) = notes(runs)
    title, _, head, _, *lines = table.split("\n")
    assert title == "**What became of the wrong labels, noise flip@0.4**"
    heads = ("arm", "learnt by heart, %", "right class said, %", "right labels said, %")
    assert head == f"| {' | '.join((*heads, 'share of the weight, %'))} |"
    assert lines == ["| uniform | 75 | 12 | 100 | 40 |", "| mlp | 0 | 75 | 67 | 40 |"]


def test_own_labels_that_nobody_knows_are_said_once() -> None:
    own = {"own_labels": "not known to be right"}
    runs = [finished("uniform", seed, [1, 1, 0, 2, 1, 1, 1, 1, 2, 2]) for seed in range(2)]
    told = [replace(run, result=msgspec.structs.replace(run.result, details=own)) for run in runs]
    table, sentence = notes(told)
    assert [table] == notes(runs)
    assert sentence.startswith("Which of the data set's own labels are wrong is not known")
