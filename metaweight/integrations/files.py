"""What somebody else's loop leaves in a folder: the files of a run, so that a page can be made of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metaweight.comparison.cells import alone, keep
from metaweight.integrations.known_rows import KnownRows
from metaweight.report.page.document import write_page
from metaweight.report.page.study import read_study
from metaweight.tasks import Outcome, tasks
from metaweight.tasks.class_names import keep_classes
from metaweight.tasks.config import ModuleConfig
from metaweight.tasks.rows.results import write_columns
from metaweight.training.environment import manifest
from metaweight.training.history import History
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights


def write_run(folder: Path, samples: SampleWeights, known: KnownRows, options: Mapping[str, Any]) -> None:
    """Weights, the user's own columns, names of classes, manifest and result; older files are replaced.

    ``options``: of ``ModuleConfig``, as far as they are known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = RunFolder(folder)
    about = {"task": ModuleConfig.task, **manifest(options, sys.argv), "data": ModuleConfig.data}
    own.write_manifest(about, "manifest.json")
    classes = known.classes
    if not classes and samples.probabilities is not None:
        classes = [str(number) for number in range(samples.probabilities.shape[1])]
    own.save_weights(**vars(samples), classes=classes)
    columns = known.columns(samples.index.tolist())
    if columns or samples.probabilities is None:  # lists of suspects need one or the other
        write_columns(list(columns), list(columns.values()), samples, own)
    if samples.probabilities is not None:
        keep_classes(classes, own)
    rows = [
        {"epoch": epoch, "train_loss": float(loss.nanmean()), "weight_mean": float(weight.nanmean())}
        for epoch, (loss, weight) in enumerate(zip(samples.loss, samples.weights, strict=True), start=1)
    ]
    unknown = {column.figure: math.nan for column in tasks[ModuleConfig.task].presentation.columns}
    outcome = Outcome({**unknown, "weight_mean": rows[-1]["weight_mean"]}, History(rows))
    keep(alone(ModuleConfig(**options), folder.name), folder, outcome, cost=None)


def write_report(folder: Path, path: Path | str | None = None) -> Path:
    """The page of a folder of ``write_run``, and where it is: ``path``, or report.html in the folder.

    Raises FileExistsError where another file is in the way.
    """
    return write_page(read_study(folder), path)
