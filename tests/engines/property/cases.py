"""A case: a random student with its loss, its optimizer and the batches that an engine is asked about."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from engines.property.fronts import FRONTS, RARE
from engines.property.odd_parts import ODD
from engines.property.parts import CLASSES, LAYERS, LENGTH, WIDTH, Part
from engines.property.steps import LOSSES, OPTIMIZERS, Loss
from torch import Tensor, nn
from torch.optim import Optimizer

import metaweight as mw

PARTS: dict[str, Callable[[], Part]] = {**LAYERS, **ODD}
UNITS, META_UNITS = 4, 3
BEFORE = ("nothing", "full lengths", "fewer rows", "switched off", "a layer frozen", "evaluation mode")
"""What the same engine is asked about first: nothing, or a batch or student that is easier in one respect."""


class Assembled(nn.Module):
    """A front, residual parts, and a linear head over the mean of the real positions."""

    def __init__(self, front: Part, parts: Sequence[Part]) -> None:
        super().__init__()
        self.front, self.parts, self.head = front, nn.ModuleList(parts), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        real = (ids != 0).to(x.dtype)[..., None]
        h = self.front(x, ids)
        for part in self.parts:
            h = h + torch.tanh(part(h))
        return self.head((h * real).sum(1) / real.sum(1))


def parts_of(module: nn.Module) -> Iterator[Part]:
    """The parts of a student."""
    return (part for part in module.modules() if isinstance(part, Part))


@dataclass
class Live:
    """A student's module, its loss and its optimizer, as a user holds them."""

    module: Assembled
    loss: Loss
    optimizer: Optimizer
    build: Callable[[list[nn.Parameter]], Optimizer]
    gradient: dict[str, Tensor] = field(default_factory=dict)
    """Of the last step, before clipping."""

    def twin(self) -> Live:
        """A copy that shares nothing, hooks included."""
        module, loss = copy.deepcopy((self.module, self.loss))
        for part in parts_of(module):
            part.attach()
        optimizer = self.build(list(module.parameters()))
        optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        return Live(module, loss, optimizer, self.build)

    def step(
        self, batch: mw.Batch, weights: Tensor, max_norm: float | None = None, *, rounding: float = 0.0
    ) -> None:
        """What a user writes; ``rounding`` moves the gradient's numbers by that share of its norm."""
        self.optimizer.zero_grad()
        (weights * self.loss(self.module(*batch.inputs), batch.targets)).mean().backward()
        named = self.module.named_parameters()
        self.gradient = {name: p.grad.clone() for name, p in named if p.grad is not None}
        if rounding != 0:
            self._round(rounding)
        if max_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), max_norm)
        self.optimizer.step()

    def _round(self, share: float) -> None:
        """Up or down; a matrix's rows that are 0 stay 0, for no sum is behind a word that the batch lacks."""
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        apart = share * torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]).norm()
        g = torch.Generator().manual_seed(0)
        for gradient in gradients:
            signs = torch.randint(0, 2, gradient.shape, generator=g) * 2 - 1
            gradient.add_(apart * signs * (gradient.any(-1, keepdim=True) if gradient.dim() > 1 else 1))

    def switch(self, on: bool) -> None:
        """Turn on, or off, what only some batches go through."""
        self.loss.switch(on)
        for part in parts_of(self.module):
            part.switch(on)


@dataclass(frozen=True)
class Case:
    """Names of parts; everything else follows from ``seed``."""

    front: str = "vectors"
    parts: tuple[str, ...] = ("linear",)
    loss: str = "cross-entropy"
    optimizer: str = "momentum"
    warm: bool = True
    """Whether real steps were taken before."""
    before: str = "nothing"
    steps: int = 1
    max_norm: float | None = None
    seed: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that a fault may be due to."""
        asked = () if self.before == "nothing" else (f"after: {self.before}",)
        clipped = () if self.max_norm is None else ("clipping",)
        several = () if self.steps == 1 else ("several steps",)
        return (self.front, *self.parts, self.loss, self.optimizer, *asked, *clipped, *several)

    def settled(self) -> Case:
        """The same with one step where parts or loss ask for that."""
        with quiet(self.seed):
            kept = [FRONTS[self.front](), *(PARTS[name]() for name in self.parts), LOSSES[self.loss]()]
        return replace(self, steps=1) if any(one.one_step for one in kept) else self

    def live(self) -> Live:
        """The student as it stands when the second question is asked."""
        with quiet(self.seed):
            module = Assembled(FRONTS[self.front](), [PARTS[name]() for name in self.parts]).double()
            build, loss = OPTIMIZERS[self.optimizer], LOSSES[self.loss]()
            live = Live(module, loss, build(list(module.parameters())), build)
            live.switch(True)
            for step in range(2 * self.warm):
                live.step(self.batch(50 + step), torch.ones((), dtype=torch.float64))
            live.optimizer.zero_grad()
        return live

    def batch(self, number: int, *, size: int = UNITS, full: bool = False, rare: bool = True) -> mw.Batch:
        """Random vectors, words and labels; sentences of different lengths unless ``full``."""
        g = torch.Generator().manual_seed(1000 * self.seed + number)
        x = torch.randn(size, LENGTH, WIDTH, generator=g, dtype=torch.float64)
        ids = torch.randint(1, RARE + 1 if rare else RARE, (size, LENGTH), generator=g)
        lengths = torch.randint(1, LENGTH + 1, (size,), generator=g)
        lengths[0], lengths[-1] = 1, LENGTH  # never all alike
        if not full:
            ids = ids * (torch.arange(LENGTH) < lengths[:, None])
        return mw.Batch(
            (x, ids), torch.randint(CLASSES, (size,), generator=g), torch.arange(size) + 10 * number
        )

    @property
    def train(self) -> list[mw.Batch]:
        """K batches."""
        return [self.batch(1 + step) for step in range(self.steps)]

    @property
    def meta(self) -> mw.Batch:
        """Fewer rows, and without the rare word."""
        return self.batch(9, size=META_UNITS, rare=False)

    @property
    def weights(self) -> Tensor:
        """[K * U], no two alike."""
        g = torch.Generator().manual_seed(self.seed)
        return torch.rand(self.steps * UNITS, generator=g, dtype=torch.float64) + 0.3

    def easier(self) -> list[mw.Batch]:
        """The batches of the first question."""
        full, size = self.before == "full lengths", UNITS - 2 * (self.before == "fewer rows")
        return [self.batch(20 + step, size=size, full=full) for step in range(self.steps)]

    @contextmanager
    def eased(self, live: Live) -> Iterator[None]:
        """The student in the state that the first question finds it in."""
        last = live.module.parts[-1] if len(live.module.parts) else live.module.front
        moving = [p for p in last.parameters() if p.requires_grad]
        if self.before == "switched off":
            live.switch(False)
        if self.before == "evaluation mode":
            live.module.eval()
        if self.before == "a layer frozen":
            for p in moving:
                p.requires_grad_(False)
        yield
        live.switch(True)
        live.module.train()
        for p in moving:
            p.requires_grad_(True)


@contextmanager
def quiet(seed: int) -> Iterator[None]:
    """Draws from ``seed`` that leave the generator alone, without torch's warnings of what it finds odd."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield
