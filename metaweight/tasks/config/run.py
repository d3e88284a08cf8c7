"""The options that a run of any task has, and how a mapping becomes options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from metaweight.core.contracts import Center
from metaweight.core.options import Options, checked_options, parse_options, require_countable


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run of any task.

    A task's own config names the task, adds its options and gives every option without a default one.
    """

    task: ClassVar[str]
    """The registered name of the task that this config is for."""
    places: ClassVar[tuple[str, ...]] = ("data",)
    """Options that say where the data lie: a run may go on with the same data elsewhere."""

    data: str
    """The data set."""
    data_dir: str | None = None
    """Folder of the data files; default: the environment variable METAWEIGHT_DATA."""
    train_size: int | None = None
    """Training samples; default: all that meta and validation set leave."""
    meta_size: int
    """Trusted samples that drive the teacher."""
    valid_size: int
    """Trusted samples for model selection."""
    meta_from_train: bool = False
    """Draw meta and validation set out of training rows whose labels nobody has checked, wrong ones too."""
    train_on_meta: bool | None = None
    """Train on the trusted samples too, with weights like all others, in longer epochs; default: as the
    teacher says: auto does, a teacher that is named does not, as in its paper."""
    probes: float = 0.0
    """Plant so many trusted rows, as a share of the training rows, among these, half of them with a wrong
    label: they tell whether the weights can be believed. At most half of the trusted rows are used."""
    noise: str = "none"
    """What is wrong with the training set; none: nothing."""
    noise_rate: float = 0.4
    """Nominal noise rate."""
    model: str
    """The student's architecture."""
    model_options: Options = field(default_factory=dict)
    """Options of the model as key=value."""
    taps: tuple[str, ...] = ()
    """Submodules that the teacher sees; default: the model's own."""
    teacher: str = "auto"
    """See `metaweight teachers`; auto: the one that fits the student."""
    teacher_options: Options = field(default_factory=dict)
    """Options of the teacher as key=value."""
    teacher_lr: float
    """Learning rate of the teacher's Adam."""
    remedy: str = "none"
    """What is done about bad data without a teacher; see `metaweight remedies`."""
    remedy_options: Options = field(default_factory=dict)
    """Options of the remedy as key=value."""
    plain_run: bool = False
    """Train the same student plainly on the same rows too, into the folder plain/ of the run, and say what
    the weights gain."""
    engine: str = "auto"
    """See `metaweight engines`; auto: the cheapest exact one for the student's layers."""
    engine_options: Options = field(default_factory=dict)
    """Options of the engine as key=value."""
    schedule: str = "lookahead"
    """lookahead or online."""
    unroll: int = 1
    """Inner steps of one meta-gradient (K): an iteration is a window of K training batches."""
    every: int = 1
    """Update the teacher each N-th iteration."""
    scope: tuple[str, ...] = ()
    """Submodules that the meta-gradient goes through; default: all."""
    center: Center | None = None
    """Centre the hypergradient: True within the batch, class within each given class of it; default: as the
    teacher says."""
    anchor: float = 1.0
    """Pull of the mean weight to 1 where the hypergradient is centred."""
    relabel: bool = False
    """Train on the labels that the teacher suggests too, each with a share of the weight; of classes, by
    jury."""
    epochs: int
    """Passes over the training set."""
    warmup_epochs: int
    """First epochs, plain, without the teacher."""
    batch_size: int
    """Size of a training batch."""
    meta_batch_size: int
    """Size of a trusted batch."""
    optimizer: str
    """sgd, adam or adamw."""
    lr: float
    """Learning rate of the student."""
    momentum: float = 0.9
    """Momentum of sgd."""
    nesterov: bool = False
    """Nesterov momentum of sgd."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of both moments of adam and adamw."""
    eps: float = 1e-8
    """Added to the root of the second moment of adam and adamw."""
    weight_decay: float = 0.0
    """Weight decay."""
    lr_schedule: str
    """constant, step, cosine or inverse-sqrt."""
    lr_warmup_steps: int = 0
    """Steps of linear learning-rate warm-up."""
    lr_milestones: tuple[int, ...] = ()
    """Epochs at which the learning rate is multiplied by lr_gamma (step)."""
    lr_gamma: float = 0.1
    """Factor at each milestone."""
    max_norm: float | None = None
    """Clip the student's gradient to this 2-norm."""
    patience: int | None = None
    """Stop after so many evaluations without a better score on the validation set."""
    evaluate_every: int = 1
    """Epochs between evaluations."""
    seed: int = 0
    """Seeds split, noise, initial weights and order."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    precision: str = "float32"
    """float32, or bf16 for passes of the student under autocast."""
    memory_format: str = "contiguous"
    """contiguous, or channels_last for images."""
    compile: bool = False
    """Compile the student's passes with torch.compile: a minute or more for each input shape."""

    def __post_init__(self) -> None:
        require_countable("a run", vars(self))


C = TypeVar("C", bound=RunConfig)


def config_from(kind: type[C], values: Mapping[str, Any], where: Path | None = None) -> C:
    """The config that a manifest holds.  Raises as ``with_options``; with the file ``where`` ValueError that
    names it."""
    try:
        return kind(**checked_options("a run", kind, kept_options(values)))
    except (TypeError, ValueError) as error:
        if where is None:
            raise
        raise ValueError(f"{where} is damaged, or is another version's: {error}") from error


def kept_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run as a manifest holds them.

    Those of a part were once lists of "key=value", trusted rows of own data were once drawn unasked, and none
    were trained on.
    """
    kept: dict[str, Any] = {"train_on_meta": False} if values.get("teacher") == "auto" else {}
    kept |= {
        name: parse_options(value) if name.endswith("_options") and isinstance(value, list) else value
        for name, value in values.items()
    }
    own = str(values.get("data", "")).startswith(("hf:", "tsv:")) and values.get("train") is None
    return {"meta_from_train": True, **kept} if own else kept


def with_options(config: C, values: Mapping[str, Any]) -> C:
    """``config`` with some options changed; lists become tuples.

    Raises TypeError for an unknown option, with the nearest one, and for a value of another type.
    """
    return replace(config, **checked_options("a run", type(config), values))
