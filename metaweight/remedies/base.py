"""What a remedy is, the registry of all, and how one is built and checked from a run's options."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from metaweight.core.options import checked_options, options_of, require_options
from metaweight.core.processes import Processes
from metaweight.core.registry import Registry
from metaweight.remedies.course import Course, Stage
from metaweight.student.losses import losses
from metaweight.tasks import Evaluation, Pool, Prepared, pooled, tasks
from metaweight.tasks.config import RunConfig

NONE = "none"
"""The remedy of a run that has none."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What a remedy may look at before anything is trained."""

    name: str
    """The remedy's."""
    config: RunConfig
    pool: Pool
    evaluation: Evaluation


class Remedy(Protocol):
    """What to do about bad data without a teacher: a frozen dataclass of its options.

    A remedy of your own is a subclass: what it does not say itself is as here.
    """

    uses_truth: ClassVar[bool] = False
    """Whether it is told which samples are bad: a bound for the others, not a remedy that one can use."""
    whole_batches: ClassVar[bool] = False
    """Whether its loss looks at the samples of a batch side by side, so that one process has to have all."""

    def check(self, facts: Facts) -> None:
        """Raise ValueError, in a sentence, where this run lacks what the remedy needs; default: nothing."""

    @abstractmethod
    def last(self, course: Course) -> Stage:
        """The last stage, whose student is the run's; trains the earlier ones with ``course.train``."""


remedies: Registry[type[Remedy]] = Registry("remedy", group="metaweight.remedies")


def remedy_options(name: str) -> dict[str, Any]:
    """Option -> default of the remedy ``name``."""
    return options_of(remedies[name])


def build_remedy(config: RunConfig) -> Remedy | None:
    """The remedy that ``config`` names; None for none.

    Raises KeyError for an unknown one and TypeError for an unknown option, with the nearest names, or one of
    another type, ValueError for one out of range, for a teacher and for ``train_on_meta`` beside the remedy.
    """
    name, options = config.remedy, config.remedy_options
    if name == NONE:
        require_options("a run without a remedy", options, ())
        return None
    if name in losses and name not in remedies:
        raise KeyError(f"{name!r} is a loss, not a remedy: choose it as the loss (--loss {name})")
    kind = remedies[name]
    owner = f"remedy {name!r}"
    own = checked_options(owner, kind, options)
    if config.teacher != "uniform":
        raise ValueError(
            f"{owner} trains every student plainly, so a teacher has no say: "
            f"give teacher uniform beside it, not {config.teacher!r}, or no remedy"
        )
    if config.train_on_meta:
        raise ValueError(
            f"{owner} says itself what it trains on: leave out train_on_meta, or take remedy 'with-meta'"
        )
    return kind(**own)


def check(config: RunConfig, prepared: Prepared) -> None:
    """Raise what ``run`` would for a remedy that cannot be, before anything is trained or written."""
    remedy = build_remedy(config)
    if remedy is not None:
        check_built(remedy, config, prepared)


def check_built(remedy: Remedy, config: RunConfig, prepared: Prepared) -> None:
    """Raise ValueError where ``remedy``, which ``config`` names, cannot be."""
    processes = Processes.at_hand().size
    if remedy.whole_batches and processes > 1:
        raise ValueError(
            f"remedy {config.remedy!r} looks at the samples of a batch side by side, and {processes} "
            "processes were started, each with a part of it: train it in one, without torchrun"
        )
    remedy.check(facts_of(config, prepared))


def facts_of(config: RunConfig, prepared: Prepared) -> Facts:
    """Raises ValueError where the task has no pool of samples."""
    task = tasks[config.task]
    pool = pooled(task, config.task).pool(config, prepared)
    return Facts(config.remedy, config, pool, task.evaluation(config, prepared))


def require_classes(facts: Facts) -> None:
    """Raise ValueError unless every sample has one class, and the run the ordinary loss of classes."""
    if facts.pool.labels is None:
        raise ValueError(
            f"remedy {facts.name!r} needs samples with one class each, task {facts.config.task!r} has none"
        )
    loss = getattr(facts.config, "loss", None)
    if loss != "cross-entropy":
        raise ValueError(
            f"remedy {facts.name!r} has a loss of its own: leave loss at cross-entropy, got {loss!r}"
        )


def require_truth(facts: Facts) -> None:
    """Raise ValueError unless it is known which training samples are wrong."""
    if facts.pool.flipped is None:
        raise ValueError(
            f"remedy {facts.name!r} uses the truth about the training set, and of this one it is not known "
            "which samples are wrong: put noise into clean data (noise), or take another remedy"
        )


def nominal_rate(chosen: float | None, nominal: float | None, *, option: str, name: str) -> float:
    """``chosen``, or else the ``nominal`` noise rate.  Raises ValueError where neither is known."""
    rate = nominal if chosen is None else chosen
    if rate is None:
        raise ValueError(
            f"remedy {name!r} takes the noise rate for its {option}, and this data set's is not known: "
            f'give --remedy-options "{option}=0.2"'
        )
    return rate


def require_range(name: str, value: float, *, below: float = 1.0) -> None:
    """Raise ValueError unless the option ``name`` lies in [0, below)."""
    if not 0 <= value < below:
        raise ValueError(f"{name} lies in [0, {below:g}), got {value}")
