"""The seam of a task: what it gives, so that training, grids, tables and commands are the same for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from metaweight.core.contracts import Batch
from metaweight.core.registry import Registry
from metaweight.data.origins import LeftOut, Origins
from metaweight.reweighter import Reweighter
from metaweight.tasks.assembly import Assembled
from metaweight.tasks.config import RunConfig, config_from
from metaweight.tasks.figures import Presentation
from metaweight.tasks.outcome import Outcome
from metaweight.training.callbacks import Callback
from metaweight.training.evaluation import Evaluate, evaluate
from metaweight.training.history import Source
from metaweight.training.run_folder import RunFolder


class Prepared(Protocol):
    """The data of a run, loaded and spoilt."""

    @property
    def title(self) -> str:
        """Name of the data set, over the table."""
        ...

    @property
    def source(self) -> str:
        """Where the data came from, for the manifest."""
        ...

    @property
    def samples(self) -> int:
        """One more than the largest index that a batch carries, of training samples or of trusted ones."""
        ...

    @property
    def origins(self) -> Origins:
        """Where the sample of each index came from."""
        ...

    @property
    def left_out(self) -> LeftOut:
        """What the data hold and the run does not use."""
        ...

    @property
    def digests(self) -> Mapping[str, str]:
        """Part of the data in words ("training rows", "vocabulary") -> digest of it, in its order."""
        ...


@runtime_checkable
class InColumns(Protocol):
    """A task whose rows can be read: columns of a table, or sentences."""

    def cells(self, prepared: Any, of: str, positions: Sequence[int]) -> Sequence[Mapping[str, str]]:
        """Column -> what is in it, for the rows of ``of`` (train, meta, valid or test) that batches call
        ``positions``."""
        ...


def described(prepared: Prepared) -> str:
    """Name and origin of the data, with what was dropped."""
    return f"{prepared.title}: {prepared.source}" if prepared.source else prepared.title


class Sources(NamedTuple):
    """What a run trains on."""

    train: Source
    meta: Source


@dataclass(frozen=True)
class Evaluation:
    """What is measured during training, and by which figure the best epoch is chosen."""

    batches: Mapping[str, Iterable[Batch]]
    """Split ("valid", "test") -> its batches."""
    function: Evaluate = evaluate
    """(student, batches) -> figures; those of split S are called ``S_figure``."""
    monitor: str = "valid_accuracy"
    """The figure that early stopping and ``best_epoch`` follow."""
    higher_is_better: bool = True


C = TypeVar("C", bound=RunConfig)
P = TypeVar("P", bound=Prepared)


class Task(Protocol[C, P]):
    """One kind of run.  A mistake in the config is an error of ``prepare``, ``build`` or ``evaluation``."""

    @property
    def config(self) -> type[C]:
        """The class of its configs; its defaults are a run that works."""
        ...

    @property
    def presentation(self) -> Presentation:
        """How people see what its runs gave."""
        ...

    @property
    def noises(self) -> tuple[str, ...]:
        """Kinds of noise that ``metaweight compare`` takes by default."""
        ...

    def check(self, config: C) -> None:
        """Raise for names and options of the task that no data are needed to check."""
        ...

    def prepare(self, config: C) -> P:
        """Load, split and corrupt the data; the same for every teacher."""
        ...

    def keep(self, prepared: P, folder: RunFolder) -> None:
        """Write what a run's folder holds from the start on: vocabularies."""
        ...

    def build(self, config: C, prepared: P) -> Reweighter:
        """Student, teacher and their optimizers, initialised from the config's seed."""
        ...

    def sources(self, config: C, prepared: P) -> Sources:
        """Training and trusted batches."""
        ...

    def evaluation(self, config: C, prepared: P) -> Evaluation:
        """What the Trainer measures."""
        ...

    def conclude(self, config: C, prepared: P, trained: Assembled, folder: RunFolder | None) -> Outcome:
        """The figures of a finished run; writes weights by sample and its own files into ``folder``."""
        ...


@runtime_checkable
class Watching(Protocol):
    """A task that keeps something of its own of each step."""

    def watchers(self, config: Any, prepared: Any) -> Iterable[Callback]:
        """New ones for a run, which ``conclude`` finds in ``Assembled.watchers``."""
        ...


tasks: Registry[Task[Any, Any]] = Registry("task")


def kept_task(name: str, where: Path) -> Task[Any, Any]:
    """The task that the file ``where`` names.  Raises ValueError, with the file, for an unknown one."""
    try:
        return tasks[name]
    except KeyError as error:
        raise ValueError(f"{where} is damaged, or is another version's: {error.args[0]}") from error


def kept_config(about: Mapping[str, Any], manifest: Path) -> RunConfig:
    """The options of the run of which the file ``manifest`` holds ``about``; raises as ``kept_task``."""
    task = kept_task(about.get("task", "image"), manifest)  # the first runs, all of images, do not say so
    config: RunConfig = config_from(task.config, about["config"], manifest)
    return config
