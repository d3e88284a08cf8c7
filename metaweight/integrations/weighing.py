"""A Reweighter inside of somebody else's loop: the weighted loss of a batch, what to save, what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from metaweight.core.batch import Batch
from metaweight.core.contracts import StepReport, Target
from metaweight.data.epochs import Epochs
from metaweight.data.origins import Origins
from metaweight.integrations.answers import Answers
from metaweight.integrations.files import write_run
from metaweight.integrations.known_rows import KnownRows
from metaweight.integrations.shared_epochs import SharedEpochs
from metaweight.report.suspects import Suspects, own_name
from metaweight.reweighter import Reweighter
from metaweight.teachers.base import name_of
from metaweight.training import checkpoint
from metaweight.training.callbacks import WeightHistory
from metaweight.training.epoch_file import BY_EPOCH
from metaweight.training.history import own_part
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


class Weighing:
    """Weighs each batch of a loop that takes its own steps, and keeps the weights of all ``samples``.

    ``trusted``: None for a teacher that needs none.  ``target``: what rows are labelled with.  ``known``:
    what people know the rows by.  ``warmup``: the first epochs, in which all weights are 1.  ``seed``:
    what the page says of it.  ``folder``, that of the first process, and no other run's: has the weights of
    the epochs that are over, and ``state_dict`` says where; None: memory and ``state_dict`` have them.  The
    teacher's learning rate takes the course of the student's, as in
    metaweight's own Trainer.

    In several processes each gives its part of a batch and the same ``trusted``, whose batches are parted;
    weights, losses and answers of all rows are then in all of them, and nothing that is asked of them waits
    for another process.
    """

    def __init__(
        self,
        reweighter: Reweighter,
        trusted: Epochs | None,
        *,
        samples: int,
        target: Target,
        known: KnownRows | None = None,
        warmup: int = 0,
        seed: int = 0,
        folder: Path | None = None,
    ) -> None:
        if trusted is None and reweighter.needs_meta:
            raise ValueError(
                f"teacher {type(reweighter.teacher).__name__} learns from rows that are surely right: give a "
                "trusted data set"
            )
        self.reweighter, self.trusted = reweighter, trusted
        self._processes = reweighter.student.processes
        folder = self._processes.from_first(lambda: folder)
        self._filed = None if folder is None else SharedEpochs(folder, samples, self._processes)
        self.history = WeightHistory(samples, 1, warmup, filed=self._filed)
        self.answers = Answers(samples, target)
        self.known, self.seed = KnownRows() if known is None else known, seed
        groups = () if reweighter.teacher_optimizer is None else reweighter.teacher_optimizer.param_groups
        self._rates = [float(group["lr"]) for group in groups]
        self._sums: dict[str, tuple[float, int]] = {}
        """Of each figure since the last call of ``figures``: sum and batches."""
        self._last: StepReport | None = None
        """Not summed up yet."""

    @property
    def leads(self) -> bool:
        """Whether this process writes the run's files: of several the first one does."""
        return self._processes.rank == 0

    def loss(
        self,
        train: Batch,
        epoch: int,
        *,
        share: float = 1.0,
        loss_scale: float = 1.0,
        module: nn.Module | None = None,
    ) -> Tensor:
        """The weighted loss of a batch, mean(weights * losses), with its graph; the teacher has learnt.

        Arguments as of ``weigh``; ``share`` is also what this loss is multiplied by.  ``module``: what is
        called, the student's with something around it that sums up its gradients over processes.
        """
        weights = self.weigh(train, epoch, share=share, loss_scale=loss_scale)
        forward = self.reweighter.student(train, module=module, taps=False)
        self.answers.see(forward)
        return (weights * forward.loss).mean()

    def weigh(self, train: Batch, epoch: int, *, share: float = 1.0, loss_scale: float = 1.0) -> Tensor:
        """The weights [U] of a batch, detached; the teacher has learnt.

        ``epoch``: from 0.  ``share``: the part that the batch has in a step, 1 / batches as a rule where
        several make one; ``loss_scale``: as in ``Reweighter.weigh``.
        """
        reweighter = self.reweighter
        self._follow_rate()
        teach, device = epoch >= self.history.warmup, reweighter.student.device
        due = self.trusted if teach else None
        meta = None
        if due is not None:
            meta = own_part(due, *divmod(reweighter.windows, len(due)), self._processes).to(device)
        weights = reweighter.weigh(train, meta, teach=teach, micro_batches=1 / share, loss_scale=loss_scale)
        report = reweighter.last
        assert report is not None
        self.history.make_room(epoch + 1)
        self.history.on_step(Epoch(reweighter, epoch, epoch + 1), train, report)
        self._sum_up()
        self._last = report
        return weights

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
        self._sum_up()
        sums, self._sums = self._sums, {}
        return {name: total / batches for name, (total, batches) in sums.items()}

    def _sum_up(self) -> None:
        """The last report, whose numbers are there after the next iteration, at no wait for the device."""
        report, self._last = self._last, None
        if report is None:
            return
        losses = {"unweighted_loss": report.train_loss, "meta_loss": report.meta_loss}
        shape = {name: report.stats[name] for name in ("weight_mean", "weight_spread", "ess")}
        for name, value in {**shape, **losses}.items():
            if value is not None:
                total, batches = self._sums.get(name, (0.0, 0))
                self._sums[name] = total + value, batches + 1

    def samples(self) -> SampleWeights:
        """Weight and loss of every sample that was seen in each epoch, and what the student says of it."""
        history = self.history
        weights, loss = history.weights, history.loss
        index = weights.isfinite().any(dim=0).nonzero().flatten()
        said = self.answers.of(index)
        return SampleWeights(
            index,
            weights[:, index],
            loss[:, index],
            given=said.get("given"),
            probabilities=said.get("probabilities"),
            said=said.get("said"),
            warmup=history.warmup,
            origins=Origins.of("training data", (index + 1).tolist()),
        )

    def weights(self) -> DataFrame:
        """By ``index`` in the data set, from 0: mean_weight and loss, each the mean over the epochs."""
        from pandas import DataFrame

        columns = {"mean_weight": self.history.mean_weight(), "loss": self.history.mean_loss()}
        rows = range(self.history.shape[1])
        return DataFrame({"index": rows, **{name: value.numpy() for name, value in columns.items()}})

    def suspects(self) -> DataFrame:
        """index, the user's own columns and those of ``Suspects``, of the samples that were seen."""
        from pandas import DataFrame

        samples = self.samples()
        index = samples.index.tolist()
        own = {own_name(name): cells for name, cells in self.known.columns(index).items()}
        return DataFrame(Suspects(samples).columns({"index": index, **own}, self.known.classes))

    def write(self, folder: Path) -> None:
        """The files of a run, ``weights.csv`` among them, into ``folder``; older ones are replaced.

        Of several processes the one that ``leads`` is to do it.
        """
        live = self.reweighter.live
        options = {
            "model": type(live.student.module).__name__,
            "taps": live.student.taps,
            "teacher": name_of(live.teacher),
            "schedule": self.reweighter.schedule,
            "epochs": self.history.shape[0],
            "warmup_epochs": self.history.warmup,
            "seed": self.seed,
        }
        write_run(folder, self.samples(), self.known, options)

    def state_dict(self) -> dict[str, Any]:
        """Teacher, its optimizer, counters (so the place in the trusted rows) and the weights so far: all, or
        of the epoch at hand, what tells the others, and where they lie."""
        history = self.history.state_dict()
        if self._filed is not None:
            history["file"] = str(self._filed.path)
            # the next epoch takes the table of this one
            history["begun"] = None if history["begun"] is None else history["begun"].clone()
        kept = {"history": history, "answers": self.answers.state_dict()}
        return {"format": checkpoint.FORMAT, "teaching": self.reweighter.teaching_state(), **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave, in all processes together.

        Epochs that lie in a file are looked for in ``folder`` first, then where they lay.  Raises
        CheckpointError where they are not there, and for a state of a newer version's.
        """
        # states had none before a user's own checkpoints could be told apart
        checkpoint.require_readable("the state of metaweight", state.get("format", checkpoint.FORMAT))
        self.reweighter.load_teaching_state(state["teaching"])
        history = state["history"]
        if "filed" in history and self._filed is None:
            history = self._read(history)
        if "filed" in history:
            self.history.make_room(len(history["filed"]) + (history["begun"] is not None))
        else:
            self.history.make_room(len(history["weights"]))
        self.history.load_state_dict(history)
        if "answers" in state:  # checkpoints had none before there were suggestions
            self.answers.load_state_dict(state["answers"])

    def _read(self, history: Mapping[str, Any]) -> dict[str, Any]:
        """The state of a history without a file."""
        filed = SharedEpochs(Path(history["file"]).parent, self.history.shape[1], self._processes)
        filed.take_up(history["filed"])
        both = filed.read()
        if history["begun"] is not None:
            both = torch.cat([both, history["begun"][None]])
        return {"weights": both[:, 0], "loss": both[:, 1]}

    def save(self, folder: Path | str) -> None:
        """Write ``metaweight.pt`` into a checkpoint's folder, and beside it the epochs that lie in a file."""
        state = self.state_dict()  # moves what is over into the file
        if self._filed is not None:
            self._filed.leave(Path(folder))
        checkpoint.save(Path(folder) / FILE, state, self._shapes())

    def load(self, folder: Path | str) -> None:
        """Go on from a checkpoint's folder, in all processes together.  Raises CheckpointError where it does
        not fit."""
        state = checkpoint.load(Path(folder) / FILE, self._shapes())
        history = {**state["history"], "file": str(Path(folder) / BY_EPOCH)}
        self.load_state_dict({**state, "history": history})

    def _shapes(self) -> dict[str, Any]:
        teacher = self.reweighter.teacher
        about = {"teacher": type(teacher).__name__, "samples": self.history.shape[1]}
        return about | checkpoint.shapes_of("teacher", teacher.state_dict())
