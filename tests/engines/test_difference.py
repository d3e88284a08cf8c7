"""``difference``: what it alone can do, and where it says that its digits are gone."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from students import batch, make
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

import metaweight as mw
from metaweight.engines import EngineError
from metaweight.engines.difference import DifferenceWarning, FiniteDifferences
from metaweight.testing.oracles import RealSteps, relative


def slopes(engine: object, module: nn.Module, *, dtype: torch.dtype = torch.float64) -> Tensor:
    train, meta = batch((3, 8), 6, 1, dtype=dtype), batch((3, 8), 5, 2, dtype=dtype)
    w = torch.ones(6, dtype=dtype, requires_grad=True)
    own = torch.optim.SGD(module.parameters(), lr=0.1)
    return mw.hypergradient(mw.Student(module), own, train, meta, lambda _s: w, [w], engine).grads[0]


FUSED: list[bool] = []
"""Whether fused kernels were allowed, pass by pass; on the module itself virtual passes leave no trace."""


class Attention(nn.Module):
    """Attention by torch's own kernels, whichever is allowed; it notes which ones are."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(8, 24), nn.Linear(8, 3)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        FUSED.append(torch.backends.cuda.flash_sdp_enabled())
        q, k, v = self.project(x).chunk(3, dim=-1)
        seen = F.scaled_dot_product_attention(
            q[:, None], k[:, None], v[:, None], dropout_p=self.dropout if self.training else 0.0
        )
        return self.head(torch.tanh(seen[:, 0]).mean(1))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_fused_attention_stays_fused_and_its_masks_are_replayed(dropout: float) -> None:
    torch.manual_seed(0)
    module = Attention(dropout).double()
    torch.manual_seed(4)
    FUSED.clear()
    found = slopes("difference", module)
    assert FUSED
    assert all(FUSED)
    FUSED.clear()
    torch.manual_seed(4)
    assert relative(found, slopes("higher", module)) <= 1e-6
    assert not any(FUSED[1:])  # but for the pass that learns what passes move


class Halving(torch.autograd.Function):
    """A custom function with a first derivative only."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad / 2


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, 0]) + Halving.apply(self.head(x[:, 1]))


def test_a_first_derivative_is_all_that_it_needs() -> None:
    torch.manual_seed(0)
    module = Custom().double()
    own = torch.optim.SGD(module.parameters(), lr=0.1)
    steps = RealSteps(mw.Student(module), own, [batch((3, 8), 6, 1)], batch((3, 8), 5, 2))
    truth = steps.slopes([torch.ones(6).double()])[0]
    assert relative(slopes("difference", module), truth) <= 1e-6
    for engine, words in (("double", "autograd.Function 'Halving'"), ("forward", "forward-mode")):
        with pytest.raises(EngineError, match=words):
            slopes(engine, module)


Single = tuple[Callable[[FiniteDifferences], Tensor], Tensor]
"""Slopes of a student in float32 by an engine, and what they are in float64."""


@pytest.fixture
def single() -> Single:
    """Of a Transformer encoder, at weights of one."""
    built, own, train, meta = make("encoder", "momentum")
    w = torch.ones(6).double().requires_grad_()
    exact = mw.hypergradient(built, own, train, meta, lambda _s: w, [w], "higher").grads[0]
    module = built.module.float()
    for state in own.state.values():
        state["momentum_buffer"] = state["momentum_buffer"].float()
    batches = [mw.Batch((b.inputs[0].float(),), b.targets, b.index) for b in (train, meta)]
    v = torch.ones(6).requires_grad_()

    def found(engine: FiniteDifferences) -> Tensor:
        grads = mw.hypergradient(mw.Student(module), own, *batches, lambda _s: v, [v], engine).grads
        return grads[0].double()

    return found, exact


def test_float32_is_right_to_about_a_thousandth(
    single: Single,
) -> None:
    found, exact = single
    assert relative(found(FiniteDifferences()), exact) <= 1e-3


@pytest.mark.parametrize("step", [1e-7, 1e-1], ids=["rounds", "bends"])
def test_a_step_far_from_the_default_is_worse_by_far(step: float, single: Single) -> None:
    with pytest.raises(EngineError, match=r"too rough for differences.*another step"):
        single[0](FiniteDifferences(step))


def test_a_step_beyond_all_measure_is_refused(
    single: Single,
) -> None:
    with pytest.raises(EngineError, match=r"FiniteDifferences gives .*another step"):
        single[0](FiniteDifferences(3e-1))


ROUGH = [0.0]
"""How high the steps are; of a setting that the student itself holds, a change would be an error at once."""


class Rough(nn.Module):
    """A staircase on top of a line: the derivative knows the line alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(x[:, 0])
        return out + ROUGH[0] * torch.round(out * 1e7)


def test_a_rough_student_is_an_error_at_first_and_a_warning_later(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = Rough().double()
    monkeypatch.setitem(globals(), "ROUGH", [0.1])
    with pytest.raises(EngineError, match=r"FiniteDifferences gives .* too rough.*engine='forward'"):
        slopes("difference", module)
    ROUGH[0] = 0.0
    engine = FiniteDifferences()
    student, own = mw.Student(module), torch.optim.SGD(module.parameters(), lr=0.1)
    w = torch.ones(6).double().requires_grad_()

    def again() -> None:
        mw.hypergradient(student, own, batch((3, 8), 6, 1), batch((3, 8), 5, 2), lambda _s: w, [w], engine)

    again()
    ROUGH[0] = 0.1
    with pytest.warns(DifferenceWarning, match="too rough"):
        again()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again()  # once is enough


@pytest.mark.parametrize("student", ["batchnorm-resnet", "encoder"])
def test_one_side_shares_the_losses_at_theta_and_costs_accuracy(student: str) -> None:
    built, own, train, meta = make(student, "momentum")
    passes: list[object] = []
    w = torch.linspace(0.5, 1.5, 6).double().requires_grad_()

    def found(engine: object) -> tuple[Tensor, int]:
        passes.clear()
        handle = built.module.register_forward_pre_hook(lambda *_: passes.append(0))
        grads = mw.hypergradient(built, own, train, meta, lambda _s: w, [w], engine).grads
        handle.remove()
        return grads[0], len(passes)

    exact, _ = found("higher")
    central, three = found(FiniteDifferences())
    one_sided, fewer = found(FiniteDifferences(sides=1))
    assert three - fewer == 1
    assert relative(central, exact) <= 1e-5
    assert 1e-9 < relative(one_sided, exact) <= 1e-4
    # the error of one side shrinks with the step, that of two with its square
    one, two = (
        [relative(found(FiniteDifferences(step, sides=sides))[0], exact) for step in (1e-4, 1e-5)]
        for sides in (1, 2)
    )
    assert one[0] / one[1] == pytest.approx(10, rel=0.2)
    assert two[0] / two[1] == pytest.approx(100, rel=0.5)


def test_one_side_refuses_the_losses_of_autocast() -> None:
    torch.manual_seed(0)
    student = mw.Student(
        nn.Sequential(nn.Flatten(), nn.Linear(24, 3)), execution=mw.Execution(precision="bf16")
    )
    train, meta = batch((3, 8), 6, 1, dtype=torch.float32), batch((3, 8), 5, 2, dtype=torch.float32)
    own, w = torch.optim.SGD(student.module.parameters(), lr=0.1), torch.ones(6, requires_grad=True)
    mw.hypergradient(student, own, train, meta, lambda _s: w, [w], "difference")
    with pytest.raises(EngineError, match="sides=2"):
        mw.hypergradient(student, own, train, meta, lambda _s: w, [w], FiniteDifferences(sides=1))


def test_options_that_make_no_sense() -> None:
    for sides in (0, 3):
        with pytest.raises(ValueError, match="sides is 1 or 2"):
            FiniteDifferences(sides=sides)
    for step in (0.0, -1e-3, 1.0, float("nan")):
        with pytest.raises(ValueError, match="share of the parameters' norm"):
            FiniteDifferences(step)
    module = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).double()
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    with pytest.raises(EngineError, match="no scale for a difference"):
        slopes("difference", module)


class Pooled(nn.Module):
    """The mean of the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(9, 8), nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.words(ids)).mean(1))


@pytest.mark.parametrize("sides", [2, 1])
@pytest.mark.parametrize(
    "build",
    [lambda p: torch.optim.Adafactor(p, lr=0.05), lambda p: torch.optim.Adam(p, lr=1e-2, eps=1e-12)],
    ids=["adafactor", "adam"],
)
def test_words_of_the_meta_batch_alone_drown_no_others(
    sides: int, build: Callable[[object], torch.optim.Optimizer]
) -> None:
    """An adaptive optimizer's first step is steepest where the gradient is 0: by 1 / eps."""
    torch.manual_seed(0)
    student = mw.Student(Pooled().double())
    own = build(student.module.parameters())
    train = mw.Batch((torch.randint(0, 7, (6, 4)),), torch.randint(0, 3, (6,)), torch.arange(6))
    meta = mw.Batch((torch.randint(0, 9, (5, 4)),), torch.randint(0, 3, (5,)), torch.arange(5))
    assert not torch.isin(meta.inputs[0], train.inputs[0]).all()
    w = torch.linspace(0.5, 1.5, 6).double().requires_grad_()
    found, exact = (
        mw.hypergradient(student, own, train, meta, lambda _s: w, [w], engine).grads[0]
        for engine in (FiniteDifferences(sides=sides), "higher")
    )
    assert relative(found, exact) <= {2: 1e-5, 1: 1e-4}[sides]
