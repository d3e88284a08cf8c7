"""Short runs for pictures: one core, one seed, options as anybody would give them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.report.suspects import Suspects
from metaweight.tasks import run, tasks
from metaweight.training.callbacks import Callback
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights

LOWEST = 24
DIGITS: Mapping[str, Any] = {"data": "digits", "model_options": {"width": 16}, "epochs": 20}
"""1,497 pictures of 8x8, 100 more that are trusted: half a minute."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run leaves."""

    prepared: Any
    samples: SampleWeights
    layers: tuple[str, ...]
    """Taps, of a teacher that attends to them."""


@dataclass(frozen=True)
class Low:
    """One of the lowest weights."""

    index: int
    """Position in the data set."""
    given: int
    suggested: int
    wrong: bool


def trained(task: str, callbacks: Sequence[Callback] = (), **options: Any) -> Trained:
    """Run ``task`` with ``options`` in a folder that goes away again."""
    torch.set_num_threads(1)  # sums in the same order everywhere
    config = tasks[task].config(**options)
    prepared = tasks[task].prepare(config)
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder.create(Path(scratch) / "run", {})
        outcome = run(config, folder, prepared=prepared, callbacks=callbacks)
        return Trained(prepared, folder.read_weights(), outcome.layers)


def lowest(samples: SampleWeights, count: int = LOWEST) -> list[Low]:
    """Those of the ``count`` lowest mean weights in order, as `metaweight suspects` lists them."""
    found = Suspects(samples)
    own, says = found.samples, found.samples.predicted()
    assert says is not None
    assert own.given is not None
    assert own.flipped is not None
    places = found.order[:count].tolist()
    return [
        Low(int(own.index[at]), int(own.given[at]), int(says[at]), bool(own.flipped[at])) for at in places
    ]


def share_wrong(samples: SampleWeights) -> str:
    """``38 %``"""
    flipped: Tensor | None = samples.own.flipped
    assert flipped is not None
    return f"{100 * float(flipped.double().mean()):.0f} %"
