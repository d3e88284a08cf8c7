"""What an engine solves, what it is, and the registry of all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Forward, StudentState
from metaweight.core.options import checked_options, options_of
from metaweight.core.randomness import RandomState, differentiable
from metaweight.core.registry import Registry
from metaweight.engines.abilities import Abilities
from metaweight.engines.checks import EngineError
from metaweight.engines.graph import Graph
from metaweight.engines.window import Rates, WindowEnd
from metaweight.student.student import Student

CHECK_EVERY = 100
"""Batches between two checks of an engine's answer."""
Weigh = Callable[[StudentState], Tensor]
MetaWeights = Callable[[Tensor], Tensor | None]
"""Positions [U] of trusted units -> what they count in the meta loss [U] >= 0; None: all alike.  Within one
problem the same answer at each call."""
GradientAt = Callable[[Tensor], Mapping[str, Tensor]]
"""Weights [U] -> parameter name -> gradient of mean(weights * loss), detached."""


@dataclass(frozen=True)
class Recorded:
    """A train pass of the live student that was made before the engine ran, to be shared with it."""

    forward: Forward
    buffers: dict[str, Tensor]
    """Clones from before that pass."""
    random: RandomState
    """The generators before that pass."""
    after: dict[str, Tensor] | None = None
    """Clones from after that pass, which is where the meta pass starts; None: nothing moved."""
    keep_graph: bool = True
    """Whether somebody backpropagates through ``forward`` after the engine."""
    kept: Any = None
    """What the engine's ``keeping`` gave for that pass."""


def virtual_pass(
    student: Student, batch: Batch, keeping: AbstractContextManager[Any], *, taps: bool = True
) -> Recorded:
    """The train pass that the student would make next, which leaves it as it is; ``keeping`` is around it."""
    random, before, after = RandomState.of(student.device), student.buffers(), student.buffers()
    with keeping as kept:
        forward = student.functional(batch, {}, after, taps=taps)
    return Recorded(forward, before, random, after, keep_graph=False, kept=kept)


class Sighted:
    """Weighs, and keeps the states that it saw."""

    def __init__(self, weigh: Weigh) -> None:
        self.weigh, self.seen = weigh, list[StudentState]()

    def __call__(self, state: StudentState) -> Tensor:
        self.seen.append(state)
        return self.weigh(state)


def shares_of(counts: Tensor) -> Tensor:
    """Non-negative ``counts`` [U] with the mean 1; all 1 where they are all 0."""
    mean = counts.mean()
    return torch.where(
        mean > 0, counts / mean.where(mean > 0, torch.ones_like(mean)), torch.ones_like(counts)
    )


@dataclass(frozen=True)
class Problem:
    """dL_meta(theta_K)/dw for K inner steps from the student's and the optimizer's present state."""

    student: Student
    optimizer: Optimizer
    train: tuple[Batch, ...]
    meta: Batch
    weigh: Weigh
    max_norm: float | None = None
    progress: float = 0.0
    recorded: Recorded | None = None
    scope: frozenset[str] | None = None
    """Parameters through whose inner step the hypergradient goes; None for all.  The others' steps count
    as constants."""
    rates: Rates | None = None
    """K times the learning rate of each parameter group; None: as the optimizer has them."""

    gathered: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameter name -> gradient that is there already, to which that of the first inner step is added."""
    share: float = 1.0
    """What the first inner step's gradient is multiplied by, as where a step has several micro-batches."""
    check_every: int = CHECK_EVERY
    """Batches after which the engine's answer is checked again, see ``watch``."""

    weigh_meta: MetaWeights | None = None
    """What trusted units count; constants of the meta loss."""
    again: bool = False
    """Whether the train loss's gradient at other weights is wanted afterwards; no answer depends on it, but
    what one costs."""

    def meta_loss(self, meta: Forward) -> Tensor:
        """The meta loss of the units here, a scalar with its graph."""
        counts = self._counts(meta)
        return (
            meta.loss.mean() if counts is None else (meta.part.own(counts).to(meta.loss) * meta.loss).mean()
        )

    def joined_meta_loss(self, meta: Forward) -> float:
        """The meta loss of the joined batch, without a graph, added up in float64."""
        counts, losses = self._counts(meta), meta.losses.double()
        return float(losses.mean() if counts is None else (counts * losses).mean())

    def _counts(self, meta: Forward) -> Tensor | None:
        """[U] of the joined batch, with the mean 1; all 0 count as all alike."""
        if self.weigh_meta is None:
            return None
        counts = self.weigh_meta(meta.part.join(meta.index))
        return None if counts is None else shares_of(counts.detach())

    def step_gradient(self, number: int, gradient: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the optimizer gets in the inner step ``number`` for the gradient of the weighted loss."""
        if number > 0 or (not self.gathered and self.share == 1.0):
            return dict(gradient)
        total = {name: self.share * value for name, value in gradient.items()}
        for name, value in self.gathered.items():
            total[name] = total[name] + value if name in total else value
        return total

    def rates_at(self, step: int) -> Sequence[float] | None:
        """The learning rates of one of the K steps."""
        return None if self.rates is None else self.rates[step]


@dataclass(frozen=True)
class Solution:
    """What an engine found; K inner steps of U units."""

    weights: tuple[Tensor, ...]
    """K times [U], as ``weigh`` gave them, with their graph."""
    slopes: tuple[Tensor, ...]
    """K times [U]: dL_meta / dw, detached."""
    meta: Forward
    """The meta pass at theta_K."""
    index: tuple[Tensor, ...]
    """K times [U], position of each unit in the data set."""
    gradient: Mapping[str, Tensor]
    """Parameter name -> gradient of the last inner step's weighted loss, detached, before clipping; of all
    trainable parameters that it reaches."""
    end: WindowEnd | None = None
    """Where the inner steps lead, for the live student to go on from; None where the engine has not that."""
    gradient_at: GradientAt | None = None
    """Gradient of the train loss at other weights without a backward; None where the engine has not that."""
    direction: Mapping[str, Tensor] | None = None
    """u by parameter name, of one inner step: slopes are <u, gradient of loss_i> / U; None: not known."""
    states: tuple[StudentState, ...] = ()
    """K times what the teacher saw, of engines with the ability ``ends_window``."""
    graphs: tuple[Graph, ...] = ()
    """K times what the train passes were made of, where the engine ran them; see ``watch``."""


@runtime_checkable
class Engine(Protocol):
    """A way to get dL_meta/dw. It knows no teacher and leaves all that is live as it was.

    An engine of your own is a subclass: what it does not say itself is as here.
    """

    suspicion: str = "a part of the student has another derivative than its backward says"
    """What of a student makes an answer of this engine wrong, for people."""
    advice: str = "use engine='double', 'forward' or 'difference'"
    """Which engine may do then."""
    through_state: bool = False
    """Whether slopes count that later weights depend on earlier ones through what the teacher sees."""
    summary: str
    """One line for ``metaweight engines``: how, at what cost, for whom not."""
    abilities: Abilities

    @abstractmethod
    def solve(self, problem: Problem) -> Solution:
        """Called with the random state forked and attention in a form for it, see ``attention_for``."""

    def keeping(self, student: Student) -> AbstractContextManager[Any]:
        """Around a train pass made before the engine runs; what it gives becomes ``Recorded.kept``."""
        return nullcontext()

    def record(self, problem: Problem) -> Recorded | None:
        """A train pass for ``Problem.recorded``; None for an engine that runs its own."""
        return None

    def settle(self, problem: Problem) -> Engine:
        """The engine that does the work for students like this one: itself, unless it chooses another."""
        return self

    def signature(self, recorded: Recorded) -> Hashable:
        """What its answer may depend on beside the kind of the graph; with another one it is checked."""
        return None

    def tolerance(self, dtype: torch.dtype) -> float:
        """How far slopes may be from reverse mode's, as a share of their norm."""
        return 1e-6 if dtype.itemsize >= 8 else 2e-2 if dtype.itemsize >= 4 else 0.1

    def refuse(self, message: str, *, first_time: bool) -> None:
        """What happens where reverse mode contradicts, at a student's first batch and later."""
        raise EngineError(message)

    def objection(self, what: str, suspects: Sequence[str]) -> str:
        """What to tell a user whose student makes this engine wrong: ``what`` is off, why, what to do."""
        reason = "suspect " + ", ".join(suspects) if suspects else self.suspicion
        return f"{what}: {reason}; {self.advice}"

    def contradiction(self, here: float, there: float, suspects: Sequence[str] = ()) -> str:
        """The objection where the engine's number is another than reverse mode's."""
        what = f"{type(self).__name__} gives {here:.6g}, reverse mode {there:.6g}"
        return self.objection(what, suspects)

    def give_up(self, engine: Engine, module: nn.Module, error: Exception) -> bool:
        """Whether there is another engine to take in the place of ``engine``, which has raised ``error``."""
        return False

    def state_dict(self, module: nn.Module) -> dict[str, Any]:
        """What later answers about a student's ``module`` depend on beside the problem, for a checkpoint."""
        return {}

    def load_state_dict(self, module: nn.Module, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""

    @property
    def coarse(self) -> str:
        """What makes single slopes too rough to be read one by one, for people; empty where nothing does."""
        return ""

    @property
    def choice(self) -> str:
        """The engine chosen last and why, for people; empty where there is no choice."""
        return ""


def attention_for(engine: Engine) -> AbstractContextManager[None]:
    """Attention in a form that ``engine`` can differentiate."""
    return differentiable() if engine.abilities.written_out_attention else nullcontext()


registry: Registry[type[Engine]] = Registry("engine", group="metaweight.engines")


def build_engine(engine: str | Engine, **options: Any) -> Engine:
    """An engine by name, with options of its own; an engine passes through.

    Raises KeyError for an unknown name, TypeError for an option that the engine does not have (with the
    nearest one), for one of another type, and for what is no engine.
    """
    if not isinstance(engine, str):
        if Engine not in type(engine).__mro__:  # isinstance would compare a Protocol's members one by one
            raise TypeError(f"an engine is a name or a subclass of metaweight.engines.Engine, got {engine!r}")
        return engine
    kind = registry[engine]
    return kind(**checked_options(f"engine {engine!r}", kind, options))


def engine_options(name: str) -> dict[str, Any]:
    """Option -> default of the engine ``name``."""
    return options_of(registry[name])
