"""A Reweighter inside of somebody else's loop: the weighted loss of a batch, what to save, what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metaweight.core.batch import Batch
from metaweight.core.contracts import MetaweightError, StepReport
from metaweight.data.epochs import Epochs
from metaweight.data.origins import Origins
from metaweight.report.suspects import Suspects
from metaweight.reweighter import Reweighter
from metaweight.training import checkpoint
from metaweight.training.callbacks import WeightHistory
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights

if TYPE_CHECKING:
    from pandas import DataFrame

FILE = "metaweight.pt"
"""The teacher's part of a checkpoint folder."""


@dataclass
class Epoch:
    """Somebody else's loop, as far as a Callback of metaweight's reads it."""

    reweighter: Reweighter
    epoch: int
    epochs: int
    """As far as they are known."""
    seconds: float = 0.0
    best_epoch: int | None = None

    @property
    def done(self) -> float:
        """Epochs done, whole ones."""
        return float(self.epoch)


class Weighed:
    """What a trainer of somebody else's tells of the weights of its run at hand, or the last one."""

    _weighing: Weighing | None
    """None before the first step."""
    _begins = "train()"
    """What begins a run."""

    @property
    def weighing(self) -> Weighing:
        """What weighs the run.  Raises MetaweightError before the first step."""
        if self._weighing is None:
            raise MetaweightError(f"there are no weights before the first step: call {self._begins}")
        return self._weighing

    def weights(self) -> DataFrame:
        """By ``index`` in the training data as they were given: mean_weight and loss; NaN where unseen."""
        return self.weighing.weights()

    def suspects(self) -> DataFrame:
        """index, mean_weight, loss and is_suspect of the rows that were seen, lowest mean weight first."""
        return self.weighing.suspects()


class Weighing:
    """Weighs each batch of a loop that takes its own steps, and keeps the weights of all ``samples``.

    ``trusted``: None for a teacher that needs none.  The teacher's learning rate takes the course of the
    student's, as in metaweight's own Trainer.
    """

    def __init__(self, reweighter: Reweighter, trusted: Epochs | None, *, samples: int) -> None:
        if trusted is None and reweighter.needs_meta:
            raise ValueError(
                f"teacher {type(reweighter.teacher).__name__} learns from rows that are surely right: give a "
                "trusted data set"
            )
        self.reweighter, self.trusted = reweighter, trusted
        self.history = WeightHistory(samples, 1)
        groups = () if reweighter.teacher_optimizer is None else reweighter.teacher_optimizer.param_groups
        self._rates = [float(group["lr"]) for group in groups]
        self._sums: dict[str, tuple[float, int]] = {}
        """Of each figure since the last call of ``figures``: sum and batches."""

    def loss(self, train: Batch, epoch: int, *, share: float = 1.0, loss_scale: float = 1.0) -> Tensor:
        """The weighted loss of a batch, mean(weights * losses), with its graph; the teacher has learnt.

        ``epoch``: from 0.  ``share``: what this loss is multiplied by where several batches make one step,
        1 / batches as a rule; ``loss_scale``: as in ``Reweighter.weigh``.
        """
        reweighter = self.reweighter
        self._follow_rate()
        meta = None if self.trusted is None else self.trusted.at(reweighter.windows)
        weights = reweighter.weigh(train, meta, micro_batches=1 / share, loss_scale=loss_scale)
        report = reweighter.last
        assert report is not None
        self._make_room(epoch + 1)
        self.history.on_step(Epoch(reweighter, epoch, epoch + 1), train, report)
        self._add(report)
        return (weights * reweighter.student(train).loss).mean()

    def _make_room(self, epochs: int) -> None:
        """For the weights of so many epochs."""
        known, samples = self.history.weights.shape
        if epochs <= known:
            return
        before, self.history = self.history.state_dict(), WeightHistory(samples, epochs)
        for name, values in self.history.state_dict().items():
            values[:known] = before[name]

    def _follow_rate(self) -> None:
        """The share of its first learning rate that the student has now is the teacher's too."""
        optimizer = self.reweighter.teacher_optimizer
        if optimizer is None:
            return
        own = self.reweighter.live.optimizer.param_groups[0]
        first = float(own.get("initial_lr", own["lr"]))
        share = float(own["lr"]) / first if first else 1.0
        for group, rate in zip(optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share

    def figures(self) -> dict[str, float]:
        """Means over the batches since the last call: weights, and losses without weights; {} for none."""
        sums, self._sums = self._sums, {}
        return {name: total / batches for name, (total, batches) in sums.items()}

    def _add(self, report: StepReport) -> None:
        losses = {"unweighted_loss": report.train_loss, "meta_loss": report.meta_loss}
        shape = {name: report.stats[name] for name in ("weight_mean", "weight_spread", "ess")}
        for name, value in {**shape, **losses}.items():
            if value is not None:
                total, batches = self._sums.get(name, (0.0, 0))
                self._sums[name] = total + value, batches + 1

    def samples(self) -> SampleWeights:
        """Weight and loss of every sample in each epoch."""
        index = torch.arange(self.history.weights.shape[1])
        return SampleWeights(index, self.history.weights, self.history.loss)

    def weights(self) -> DataFrame:
        """By ``index`` in the data set, from 0: mean_weight and loss, each the mean over the epochs."""
        from pandas import DataFrame

        samples = self.samples()
        columns = {"mean_weight": samples.mean_weight(), "loss": samples.mean_loss()}
        rows = {"index": samples.index.numpy(), **{name: value.numpy() for name, value in columns.items()}}
        return DataFrame(rows)

    def suspects(self) -> DataFrame:
        """index, mean_weight, loss and is_suspect of the samples that were seen, see ``Suspects``."""
        from pandas import DataFrame

        samples = self.samples()
        return DataFrame(Suspects(samples).columns({"index": samples.index.tolist()}))

    def write(self, folder: Path | str) -> None:
        """``weights.csv`` and ``weights.npz`` into ``folder``, which is made; older ones are replaced."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        samples = self.samples()
        index, origins = samples.index, Origins.of("training data", range(1, len(samples.index) + 1))
        RunFolder(Path(folder)).save_weights(
            index=index, weights=samples.weights, loss=samples.loss, origins=origins
        )

    def state_dict(self) -> dict[str, Any]:
        """Teacher, its optimizer, counters (so the place in the trusted rows) and the weights so far."""
        return {"teaching": self.reweighter.teaching_state(), "history": self.history.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        self.reweighter.load_teaching_state(state["teaching"])
        self._make_room(len(state["history"]["weights"]))
        self.history.load_state_dict(state["history"])

    def save(self, folder: Path | str) -> None:
        """Write ``metaweight.pt`` into a checkpoint's folder."""
        checkpoint.save(Path(folder) / FILE, self.state_dict(), self._shapes())

    def load(self, folder: Path | str) -> None:
        """Go on from a checkpoint's folder.  Raises CheckpointError where it does not fit."""
        self.load_state_dict(checkpoint.load(Path(folder) / FILE, self._shapes()))

    def _shapes(self) -> dict[str, Any]:
        teacher = self.reweighter.teacher
        about = {"teacher": type(teacher).__name__, "samples": self.history.weights.shape[1]}
        return about | checkpoint.shapes_of("teacher", teacher.state_dict())
