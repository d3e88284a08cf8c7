"""The options that a run of any task has, and how text becomes options."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from metaweight.core.contracts import Center
from metaweight.core.registry import require_options


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run of any task.

    A task's own config names the task, adds its options and gives every option without a default one.
    """

    task: ClassVar[str]
    """The registered name of the task that this config is for."""

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
    noise: str = "none"
    """What is wrong with the training set; none: nothing."""
    noise_rate: float = 0.4
    """Nominal noise rate."""
    model: str
    """The student's architecture."""
    model_options: tuple[str, ...] = ()
    """Options of the model as key=value."""
    taps: tuple[str, ...] = ()
    """Submodules that the teacher sees; default: the model's own."""
    teacher: str = "memory"
    """See `metaweight teachers`."""
    teacher_options: tuple[str, ...] = ()
    """Options of the teacher as key=value."""
    teacher_lr: float
    """Learning rate of the teacher's Adam."""
    remedy: str = "none"
    """What is done about bad data without a teacher; see `metaweight remedies`."""
    remedy_options: tuple[str, ...] = ()
    """Options of the remedy as key=value."""
    engine: str = "auto"
    """See `metaweight engines`; auto: the cheapest exact one for the student's layers."""
    engine_options: tuple[str, ...] = ()
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


C = TypeVar("C", bound=RunConfig)


def config_from(kind: type[C], values: Mapping[str, Any]) -> C:
    """A config from a mapping (a TOML table, a manifest); lists become tuples.

    Raises TypeError for an unknown option, with the nearest one, and for a value of another type.
    """
    return kind(**_options(kind, values))


def with_options(config: C, values: Mapping[str, Any]) -> C:
    """``config`` with some options changed.  Raises as ``config_from``."""
    return dataclasses.replace(config, **_options(type(config), values))


def _options(kind: type[RunConfig], values: Mapping[str, Any]) -> dict[str, Any]:
    require_options("a run", values, (field.name for field in dataclasses.fields(kind)))
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy takes the hash of instances for the class's
    for name, value in options.items():
        if not fits(value, hints[name]):
            raise TypeError(
                f"option {name} is {spelt(hints[name])}, got {value!r}; on a command line values are JSON: "
                'null for None, [1, 2] or ["a=1"] for several'
            )
    return options


# evaluates every annotation anew, which a grid of hundreds of runs would feel
_hints = functools.cache(get_type_hints)


def fits(value: object, hint: Any) -> bool:
    """Whether ``value`` is one of a field's type."""
    parts = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if get_origin(hint) is Literal:
        return value in parts
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        each = parts[:1] * len(value) if parts[1:] == (...,) else parts
        return len(value) == len(each) and all(map(fits, value, each))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def spelt(hint: Any) -> str:
    """A field's type as its source spells it: ``int | None``, ``bool | 'class'``, ``tuple[str, ...]``."""
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(map(spelt, get_args(hint)))
    if get_origin(hint) is Literal:
        return " | ".join(map(repr, get_args(hint)))
    if hint is type(None):
        return "None"
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def parse_values(pairs: Sequence[str]) -> dict[str, Any]:
    """``("width=64", "norm=batch")`` -> ``{"width": 64, "norm": "batch"}``: values are JSON, or else text.

    Raises ValueError for a pair without "=".
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"an option is written key=value, got {pair!r}")
        try:
            values[key] = json.loads(text)
        except json.JSONDecodeError:
            values[key] = text
    return values
