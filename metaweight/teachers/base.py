"""The Teacher base class, its registry, and the two bounded ways to turn scores into weights."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_args

from torch import Tensor, nn

from metaweight.core.contracts import Center, StateSpec, StudentState, Suggestion
from metaweight.core.options import Options, checked_options, options_of
from metaweight.core.reads import doubt
from metaweight.core.registry import Registry

Normalize = Literal["none", "batch"]
Sees = Literal["nothing", "loss", "surface", "states", "gradient"]
"""What a teacher's weights depend on: nothing of the student, its loss, surface information beside it
(outputs, label, progress, what was remembered of these), its internal states, or the batch's own
hypergradient."""
GRADIENT = "its weights are the meta-gradient of a step, and there is no step here"
registry: Registry[type[Teacher]] = Registry("teacher", group="metaweight.teachers")
AnyTeacher = TypeVar("AnyTeacher", bound="type[Teacher]")


class Recipe(NamedTuple):
    """What a teacher is made from."""

    name: str
    spec: StateSpec
    options: Mapping[str, Any]
    """All that it takes, defaults too."""


class Teacher(nn.Module, ABC):
    """Gives a weight >= 0 to each unit of a batch, on the scale "1 = an ordinary sample".

    A subclass takes ``spec: StateSpec`` first and its own options, each with a default, after it.
    Without parameters it is never trained and needs no meta-gradient.  What it is stands in its class
    attributes; commands, comparisons and reports read them.
    """

    sees: ClassVar[Sees | None] = None
    """The most that the weights depend on; None: it does not say.  Set to ``gradient`` by defining
    ``from_hypergradient``."""
    learns: ClassVar[bool] = True
    """Whether meta-gradients are taken for it: to train its parameters, or as its weights (``gradient``)."""
    wants_meta: ClassVar[bool] = False
    """Whether it looks at the meta set: set by defining ``observe``."""
    trains_on_meta: ClassVar[bool] = False
    """Whether the student is to be trained on the trusted samples too, unless the run says otherwise."""
    needs_samples: ClassVar[bool] = False
    """Whether it keeps something of every sample (see ``PerSample``), and so needs ``StateSpec.samples``."""
    centered: Center = True
    """How ``Reweighter(center=None)`` centres this teacher's hypergradient: over a batch's units, over the
    units of each given class ("class"), or not at all."""

    unrated: ClassVar[str] = ""
    """Why it has no weight for rows that were never trained on, in words; empty where it has."""

    choice: str = ""
    """Why ``auto`` took it; empty for a teacher that was asked for by name."""
    recipe: Recipe | None = None
    """What ``build_teacher`` made it from; None for one that was made by hand."""
    silence: str = "it gives weights alone; 'jury' suggests labels too"
    """Why it suggests no labels, for people; empty where it does."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.wants_meta = cls.wants_meta or "observe" in vars(cls)
        if "from_hypergradient" in vars(cls):  # else its weights would be asked for and never taken
            cls.sees = "gradient"
            cls.unrated = cls.unrated or GRADIENT

    @abstractmethod
    def forward(self, state: StudentState) -> Tensor:
        """Weights [U] of a batch; has no side effect."""

    def observe(self, meta_state: StudentState) -> None:
        """Called after each meta pass with its detached state; default: nothing."""

    def track(self, state: StudentState) -> None:
        """Called after each real step with the train batch's detached state; default: nothing."""

    def take_hypergradient(self, index: Tensor, hypergradient: Tensor) -> None:
        """Called after each update with the dL_meta/dw [U] of the samples ``index`` [U] that it was made of,
        as the engine gave it, divided by ``slope_scale``; default: nothing."""

    def slope_scale(self, state: StudentState) -> Tensor | None:
        """What dL_meta/dw of these units is divided by, [U] >= 0, before it is centred, learnt from or taken;
        None: by nothing.  A slope is zero where this is."""
        return None

    def meta_weights(self, index: Tensor) -> Tensor | None:
        """What the trusted units of these samples [U] count in the meta loss, [U] >= 0, by what is remembered
        of them; their mean is made 1.  None: all alike."""
        return None

    def suggest(self, state: StudentState) -> Suggestion:
        """Which other classes units have, of teachers whose ``silence`` is empty; has no side effect."""
        raise NotImplementedError(f"{type(self).__name__} suggests no labels: {self.silence}")

    def last_attention(self) -> dict[str, float]:
        """Tap -> its share of the attention in the last batch, of teachers that attend to layers."""
        return {}

    def from_hypergradient(self, hypergradient: Tensor) -> Tensor:
        """dL_meta/dw at zero weights [U] -> weights [U]; of teachers that see the ``gradient`` (L2RW)."""
        raise NotImplementedError(
            f"{type(self).__name__} sees the gradient: define from_hypergradient(hypergradient)"
        )


def trains_on_meta(name: str, asked: bool | None) -> bool:
    """Whether a run with the teacher ``name`` trains on the trusted samples too: as ``asked``, or as it says.

    Raises KeyError for an unknown teacher, with the nearest.
    """
    return registry[name].trains_on_meta if asked is None else asked


def weighs_meta(teacher: Teacher) -> bool:
    """Whether ``teacher`` says what trusted units count."""
    return type(teacher).meta_weights is not Teacher.meta_weights


def register_teacher(name: str) -> Any:
    """Class decorator: file a Teacher under ``name``, for ``build_teacher`` and the command line.

    Raises TypeError for a class that is no Teacher, ValueError for a bad or taken name.
    """

    def file(cls: AnyTeacher) -> AnyTeacher:
        if not (isinstance(cls, type) and issubclass(cls, Teacher)):
            raise TypeError(f"register_teacher takes a subclass of metaweight.Teacher, got {cls!r}")
        registry.add(name, cls)
        return cls

    return file


def options(name: str) -> dict[str, Any]:
    """Option -> default of the teacher ``name``."""
    cls = registry[name]
    return options_of(cls, beside=_spec_of(cls))


def build_teacher(name: str, spec: StateSpec, **chosen: Any) -> Teacher:
    """The teacher ``name`` for students like ``spec``, on its device and in its dtype.

    Raises KeyError for an unknown teacher, TypeError for an unknown option (with the nearest one) and for one
    of another type.
    """
    own = checked_teacher_options(name, chosen)
    teacher = registry[name](spec, **own).to(device=spec.device, dtype=spec.dtype)
    if teacher.recipe is None:  # one that another name chose has it already
        teacher.recipe = Recipe(name, spec, {**options(name), **own})
    return teacher


def name_of(teacher: Teacher) -> str:
    """The name under which a teacher's class is registered; else the name of the class."""
    known = (name for name in registry.names() if registry[name] is type(teacher))
    return next(known, type(teacher).__name__)


def checked_teacher_options(name: str, chosen: Options) -> dict[str, Any]:
    """``chosen`` as the teacher ``name`` takes them.  Raises as ``build_teacher``, which needs a student."""
    cls = registry[name]
    return checked_options(f"teacher {name!r}", cls, chosen, beside=_spec_of(cls))


def _spec_of(cls: type[Teacher]) -> tuple[str, ...]:
    """What ``cls`` calls its first argument, the spec."""
    return tuple(inspect.signature(cls).parameters)[:1]


def weights_from(score: Tensor, normalize: Normalize = "none") -> Tensor:
    """``2 * sigmoid(score)``: [U] -> [U] in [0, 2], 1 at score 0; "batch" rescales to mean 1."""
    weights = 2 * score.sigmoid()
    return mean_one(weights) if checked_normalize(normalize) == "batch" else weights


def checked_normalize(normalize: Normalize) -> Normalize:
    """``normalize`` if it is one of the known ways.  Raises ValueError otherwise."""
    if normalize not in get_args(Normalize):
        known = " or ".join(map(repr, get_args(Normalize)))
        raise ValueError(f"normalize is {known}, got {normalize!r}")
    return normalize


def mean_one(weights: Tensor) -> Tensor:
    """Rescale non-negative weights [U] to mean 1; all-zero weights stay zero.

    Mean 1 keeps the learning rate's meaning: uniform weights give the plain loss.
    Raises ValueError if a weight is negative.  Ren et al. (2018), normalisation step.
    """

    def fail() -> None:
        raise ValueError(f"weights are non-negative, got a minimum of {weights.min().item():.3g}")

    doubt((weights.detach() < 0).any(), fail)
    mean = weights.mean()
    return weights / mean.where(mean > 0, mean.new_ones(()))
