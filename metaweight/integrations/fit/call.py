"""``fit``: a model by name or a module, data of any form, and one run of a task."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

from metaweight.comparison.arms import arm_of
from metaweight.comparison.cells import alone, check_options, keep
from metaweight.comparison.plain import plain_config, require_comparable, train_along, train_beside
from metaweight.core.console import Terminal
from metaweight.core.processes import Processes
from metaweight.core.randomness import forked_rng
from metaweight.core.registry import Registry, did_you_mean
from metaweight.integrations.alike import require_alike
from metaweight.integrations.fit.given import as_dataset, as_rows, is_place, is_sentences
from metaweight.integrations.fit.result import Fit, weights_of
from metaweight.models.pretrained import is_pretrained
from metaweight.models.tabular import tabular_models
from metaweight.models.text import taggers, text_models
from metaweight.report.statistics.gain import gain_of
from metaweight.student.execution.execution import require_device
from metaweight.student.losses import UnitLoss
from metaweight.tasks import Outcome, assemble, begin, run_manifest, tasks
from metaweight.tasks.config import ModuleConfig, RowsConfig, with_options
from metaweight.tasks.config.module import GIVEN
from metaweight.tasks.guess import guess_of_rows, guess_task
from metaweight.tasks.module import ModuleData, prepare_module
from metaweight.tasks.module.data import TARGET
from metaweight.tasks.outcome import RunResult
from metaweight.tasks.rating import keep_rater, rater_of
from metaweight.tasks.rows import PreparedRows, RowsTask
from metaweight.teachers.base import name_of
from metaweight.training.progress import EpochProgress
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights

MODELS: Mapping[str, Registry[Any]] = {"tabular": tabular_models, "text": text_models, "tokens": taggers}
"""Task -> its models by name."""
Prepare = Callable[[Any], PreparedRows]
"""From options, those of the run or of the plain one beside it, to its data."""


def fit(
    model: str | nn.Module,
    train: Any,
    meta: Any = None,
    test: Any = None,
    *,
    valid: Any = None,
    label: str | None = None,
    meta_column: str | None = None,
    teacher: str = "auto",
    loss: UnitLoss | None = None,
    taps: Sequence[str] = (),
    folder: Path | str | None = None,
    verbose: bool = False,
    **options: Any,
) -> Fit:
    """Train ``model`` on ``train``, of which some rows are wrong, and learn from ``meta`` which ones.

    Example::

        result = metaweight.fit("tabular-mlp", "train.csv", "checked.csv", "test.csv", label="y")
        result.suspects().head(20), result.figures, result.report("page.html")

    ``model``: a name (``tabular-mlp``, ``tabular-resnet``, ``text-bag``, ``text-transformer``, of sentences
    with a label a token ``tagger-window``, ``tagger-transformer``), ``path:FOLDER`` of a Hugging Face model
    with its tokenizer for texts and such sentences, or a torch module of yours, which is trained in place;
    ``taps`` are those of its submodules that the teacher looks into, ``loss`` one of ``losses``.
    ``train``, ``meta``, ``test``, ``valid``: of a name files (as `metaweight train` takes them), DataFrames,
    pairs (X, y) (sentences are lists of words, and of their labels) or Hugging Face data sets; of a module
    also torch data sets of (input, target), or of mappings, and DataLoaders, of which that of the training
    rows gives batch size, collate_fn and number of workers, who read ahead (``workers=``).  ``label``: the
    column of labels; ``meta_column``: the one that marks trusted rows of ``train``.  ``options``: of the
    task's run, by name (``epochs``, ``batch_size``, ``probes``, ...), see `metaweight train --task tabular
    --help`; ``plain_run=True`` trains the same model plainly too, a module from a copy of it, and
    ``result.gain`` says what the weights gain.  ``folder``: where the run is kept; default: a new one
    among the temporary files.  The global random state is left as it was.

    In several processes (torchrun, in a group that is up) all call it with the same data and options; each
    trains on its part of every batch, the first one keeps the run, and all have the result, which is that of
    one process up to rounding.

    Raises TypeError and ValueError, in words, for data and options that do not do.
    """
    config: RowsConfig
    if isinstance(model, nn.Module):
        config, prepare = _of_module(
            model,
            {"train": train, "meta": meta, "valid": valid, "test": test},
            label,
            loss,
            {"teacher": teacher, "taps": tuple(taps), **options},
        )
    else:
        own = {"teacher": teacher, "taps": tuple(taps), **options}
        if loss is not None:
            raise TypeError("loss goes with a module of your own: the targets decide that of a model by name")
        given = {"train": train, "meta": meta, "valid": valid, "test": test}
        config, prepare = _of_name(model, given, label, meta_column, own)
    return _run(config, prepare, None if folder is None else Path(folder), verbose)


def _of_name(
    model: str, given: dict[str, Any], label: str | None, meta_column: str | None, options: dict[str, Any]
) -> tuple[RowsConfig, Prepare]:
    name = _task_of(model, given["train"], label)
    task = tasks[name]
    assert isinstance(task, RowsTask)
    if label is None and isinstance(given["train"], tuple):
        label = TARGET
    called = {
        part: str(data) if is_place(data) else GIVEN for part, data in given.items() if data is not None
    }
    own = task.config(model=model, **called, label=label, meta_column=meta_column)
    config: RowsConfig = with_options(own, options)
    check_options(config)
    read, tagged = partial(task.read, config), name == "tokens"
    rows = {
        part: as_rows(data, part, read, tagged=tagged) for part, data in given.items() if data is not None
    }
    parts = task.own_parts(config, rows)
    return config, lambda wanted: task.prepared(wanted, parts)


def _task_of(model: str, train: Any, label: str | None) -> str:
    """The task of a model by name; of one in a folder by whether each word of ``train`` has a label."""
    name = next((name for name, models in MODELS.items() if model in models), None)
    if name is not None:
        return name
    if not is_pretrained(model):
        known = [known for models in MODELS.values() for known in models.names()]
        raise ValueError(
            f"unknown model {model!r}.{did_you_mean(model, known)} Or give a torch module, or path:FOLDER of "
            "a Hugging Face model"
        )
    if is_place(train):
        tagged = guess_task([str(train)], label).task == "tokens"
    elif isinstance(train, tuple):
        tagged = is_sentences(train[0])
    else:
        tagged = guess_of_rows(as_rows(train, "train"), label).task == "tokens"
    return "tokens" if tagged else "text"


def _of_module(
    module: nn.Module,
    given: dict[str, Any],
    label: str | None,
    loss: UnitLoss | None,
    options: dict[str, Any],
) -> tuple[ModuleConfig, Prepare]:
    loader = given["train"] if isinstance(given["train"], DataLoader) else None
    sizes = {} if loader is None else {"workers": loader.num_workers}
    if loader is not None and loader.batch_size is not None:
        sizes["batch_size"] = loader.batch_size
    called = {part: GIVEN for part, data in given.items() if data is not None}
    own = ModuleConfig(model=type(module).__name__)
    config = with_options(own, {**called, **sizes, **options})
    check_options(config)
    parts = {part: as_dataset(data, part, label=label) for part, data in given.items() if data is not None}
    unread = copy.deepcopy(parts) if config.workers else None
    collate = default_collate if loader is None else loader.collate_fn
    untrained = copy.deepcopy(module) if config.plain_run else module

    def prepare(wanted: ModuleConfig) -> PreparedRows:
        one = module if wanted is config else untrained
        return prepare_module(wanted, ModuleData(one, parts, loss, collate, unread))

    return config, prepare


def _run(config: RowsConfig, prepare: Prepare, folder: Path | None, verbose: bool) -> Fit:
    require_device(config.device)
    prepared = prepare(config)
    require_comparable(config, prepared)
    processes, task, console = Processes.at_hand(), tasks[config.task], Terminal()
    assert isinstance(task, RowsTask)
    require_alike("metaweight.fit", lambda: run_manifest(config, prepared)["digests"])
    leads = processes.rank == 0
    shown = None
    if verbose and leads:
        shown = EpochProgress(console, config.epochs, describe=lambda row: "", counted="rows")
    with forked_rng(torch.device(config.device)):
        assembled = assemble(config, prepared, None)
        place = processes.from_first(lambda: _created(config, prepared, folder))
        own = RunFolder.open(place) if leads else None
        with nullcontext() if own is None else own.held(), shown or nullcontext():
            assembled = assemble(config, prepared, own, callbacks=() if shown is None else (shown,))
            if own is not None:
                begin(task, prepared, own)
            assembled.trainer.fit()
            outcome = task.conclude(config, prepared, assembled, own)
            if own is not None:
                keep_rater(config, prepared, assembled.trainer.reweighter, own)
        result, samples = processes.from_first(lambda: _kept(config, place, outcome))
        gain = None
        if config.plain_run:
            gain = gain_of(result, _beside(config, prepare, place), task.presentation)
    student = assembled.trainer.reweighter.student
    student.module.eval()
    return Fit(
        student.module,
        weights_of(samples, prepared.parts),
        result.figures,
        name_of(assembled.trainer.reweighter.teacher),
        place,
        samples,
        student,
        prepared,
        result,
        gain,
        leads,
        rater_of(assembled.trainer.reweighter, task.reader_at_hand(config, prepared)),
    )


def _created(config: RowsConfig, prepared: PreparedRows, folder: Path | None) -> Path:
    """The new folder of the run."""
    place = Path(tempfile.mkdtemp(prefix="metaweight-")) / arm_of(config) if folder is None else folder
    return RunFolder.create(place, run_manifest(config, prepared)).path


def _beside(config: RowsConfig, prepare: Prepare, place: Path) -> RunResult:
    """What the plain run beside the one in ``place`` comes to, in all processes."""
    plain, processes, trained = plain_config(config), Processes.at_hand(), None
    if processes.rank == 0:
        trained = train_beside(plain, place, prepare(plain))
    else:
        train_along(plain, prepare(plain))
    result = processes.from_first(lambda: trained)
    assert result is not None
    return result


def _kept(config: RowsConfig, place: Path, outcome: Outcome) -> tuple[RunResult, SampleWeights]:
    """What the folder of a run that has ended says."""
    result = keep(alone(config, place.name), place, outcome, cost=outcome.cost)
    return result, RunFolder.open(place).read_weights()
