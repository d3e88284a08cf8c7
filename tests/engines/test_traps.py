"""Each trap of higher and of forward mode: handled, or refused with the reason. Never silent."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from students import (
    REFUSED,
    STEP_ENGINES,
    STUDENTS,
    Encoder,
    OwnRandom,
    Recurrent,
    Unrepeatable,
    able_student,
    agreement,
    batch,
    engine_for,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import metaweight as mw
from metaweight.engines import EngineError
from metaweight.testing.oracles import RealSteps, relative


def run(
    module: nn.Module, engine: str, *, shape: tuple[int, ...] = (3, 8), dtype: torch.dtype = torch.float64
) -> Tensor:
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1)
    train, meta = batch(shape, 6, 1, dtype=dtype), batch(shape, 5, 2, dtype=dtype)
    weights = torch.ones(6, dtype=dtype, requires_grad=True)
    student = mw.Student(module)
    chosen = engine_for(engine, optimizer)
    return mw.hypergradient(student, optimizer, train, meta, lambda _s: weights, [weights], chosen).grads[0]


def truth(module: nn.Module, shape: tuple[int, ...] = (3, 8)) -> Tensor:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    train, meta = batch(shape, 6, 1), batch(shape, 5, 2)
    return RealSteps(mw.Student(module), optimizer, [train], meta).slopes([torch.ones(6).double()])[0]


class BoundMethod(nn.Module):
    """Keeps a bound method as an attribute: higher's copy runs the original layer, which stands on
    the copy's parameters for as long."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)
        self.call = self.hidden.forward

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.call(x[:, 0])))


@pytest.mark.parametrize("engine", ["higher", "forward"])
def test_a_bound_method_is_right(engine: str) -> None:
    torch.manual_seed(0)
    module = BoundMethod().double()
    assert relative(run(module, engine), truth(module)) <= 1e-6


def test_compiled_and_wrapped_modules_are_refused() -> None:
    compiled = nn.Sequential(nn.Flatten(), nn.Linear(24, 3))
    compiled.compile(backend="eager")
    with pytest.raises(ValueError, match="the student is compiled"):
        mw.Student(compiled)
    part = nn.Sequential(nn.Flatten(), torch.compile(nn.Linear(24, 3), backend="eager"))
    with pytest.raises(ValueError, match="submodule '1' is compiled"):
        mw.Student(part)
    with pytest.raises(ValueError, match=r"DataParallel.*torchrun"):
        mw.Student(nn.DataParallel(nn.Linear(24, 3)))


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_an_optimizer_without_an_update_is_refused(engine: str) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).double()
    train, meta = batch((3, 8), 6, 1), batch((3, 8), 5, 2)
    w = torch.ones(6).double().requires_grad_()
    optimizer = torch.optim.Rprop(module.parameters())
    with pytest.raises(TypeError, match="Rprop cannot be differentiated through"):
        mw.hypergradient(mw.Student(module), optimizer, train, meta, lambda _s: w, [w], engine)


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_adam_with_a_gradient_of_exactly_zero_is_finite(engine: str) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(24, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        module[1].bias.fill_(-100.0)  # dead units: their gradients are exactly 0
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    train, meta = batch((3, 8), 6, 1), batch((3, 8), 5, 2)
    w = torch.ones(6).double().requires_grad_()
    chosen = engine_for(engine, optimizer)
    (g,) = mw.hypergradient(mw.Student(module), optimizer, train, meta, lambda _s: w, [w], chosen).grads
    assert g.isfinite().all()


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_forward_hooks_do_not_leak_between_copy_and_original(engine: str) -> None:
    build, _, tap = STUDENTS[able_student(engine, "batchnorm-resnet", "groupnorm-resnet")]
    module = build().double()
    calls: list[int] = []
    module.stem.register_forward_hook(lambda *_: calls.append(1))
    student = mw.Student(module, taps=(tap,))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    w = torch.ones(6).double().requires_grad_()
    train, meta = batch((1, 4, 4), 6, 1), batch((1, 4, 4), 5, 2)
    chosen = engine_for(engine, optimizer)
    result = mw.hypergradient(
        student, optimizer, train, meta, lambda s: w + 0 * s.features[tap].sum(), [w], chosen
    )
    assert result.meta_state is not None
    assert len(result.meta_state.features[tap]) == 5
    assert all(len(m._forward_hooks) == (name == "stem") for name, m in module.named_modules())


def test_hooks_that_compute_are_refused_by_higher() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).double()
    module[1].register_forward_hook(lambda _m, _i, out: 2 * out)
    with pytest.raises(EngineError, match="another output than the student"):
        run(module, "higher")
    assert relative(run(module, "forward"), truth(module)) <= 1e-6


@pytest.mark.parametrize("engine", [e for e in STEP_ENGINES if "encoder" not in REFUSED.get(e, {})])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_fused_attention_with_dropout_zero_and_the_fast_path(engine: str, mode: str) -> None:
    torch.manual_seed(3)
    module = Encoder(0.0).double()
    module.train(mode == "train")
    assert relative(run(module, engine), truth(module)) <= agreement(engine, 1e-6)
    assert torch.backends.mha.get_fastpath_enabled()


class Sliced(nn.Module):
    """Slices a ModuleList, which a class that higher copies cannot do by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0]
        for layer in self.layers[:2]:
            x = torch.tanh(layer(x))
        return self.head(x)


@pytest.mark.parametrize("engine", ["higher", "forward"])
def test_a_sliced_module_list_is_right(engine: str) -> None:
    torch.manual_seed(0)
    module = Sliced().double()
    assert relative(run(module, engine), truth(module)) <= 1e-6


@pytest.mark.parametrize("engine", [e for e in STEP_ENGINES if "batchnorm-resnet" not in REFUSED.get(e, {})])
def test_batchnorm_statistics_stay_bit_for_bit(engine: str) -> None:
    module = STUDENTS["batchnorm-resnet"][0]().double()
    before = [b.clone() for b in module.buffers()]
    run(module, engine, shape=(1, 4, 4))
    assert all(torch.equal(a, b) for a, b in zip(before, module.buffers(), strict=True))


def test_a_module_without_forward_rule_is_named_with_an_engine_that_works() -> None:
    module = Recurrent(nn.LSTM)  # float32 on CPU goes through a fused kernel without a forward rule
    with pytest.raises(EngineError, match=r"'rnn' \(LSTM\).*engine='double'"):
        run(module, "forward", dtype=torch.float32)
    assert run(module, "higher", dtype=torch.float32).isfinite().all()


class Bag(nn.Module):
    """EmbeddingBag has neither a forward-mode rule nor a double backward."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(10, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bag((x[..., 0].abs() * 3).long().clamp(max=9)))


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("forward", r"'bag' \(EmbeddingBag\) has no forward-mode"),
        ("higher", "without double backward"),
        ("double", "without double backward.*engines 'ghost' and 'difference' take an EmbeddingBag"),
    ],
)
def test_an_operator_without_the_derivative_is_an_error_that_says_so(engine: str, message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(EngineError, match=message):
        run(Bag(), engine, dtype=torch.float32)


def test_weight_norm_is_right_with_higher_and_refused_by_forward() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), torch.nn.utils.parametrizations.weight_norm(nn.Linear(24, 3))
    ).double()
    assert relative(run(module, "higher"), truth(module)) <= 1e-6
    with pytest.raises(EngineError, match=r"\(_WeightNorm\) has no forward-mode.*engine='double'"):
        run(module, "forward")


class Doubling(torch.autograd.Function):
    """A custom function without a forward-mode rule."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return 2 * grad


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return Doubling.apply(self.head(x[:, 0]))


def test_custom_function_without_jvp_is_refused_by_forward() -> None:
    torch.manual_seed(0)
    module = Custom().double()
    with pytest.raises(EngineError, match=r"\(Custom\).*engine='double'"):
        run(module, "forward")
    assert relative(run(module, "higher"), truth(module)) <= 1e-6


class Checkpointed(nn.Module):
    """Checkpoints its hidden layers, which the backward then runs again, on the right parameters."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0].clone().requires_grad_()
        return self.head(torch.tanh(checkpoint(self.hidden, x, use_reentrant=self.reentrant)))


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_reentrant_checkpointing_is_refused_and_the_other_kind_is_right(engine: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(EngineError, match="use_reentrant=False"):
        run(Checkpointed(True).double(), engine)
    module = Checkpointed(False).double()
    assert relative(run(module, engine), truth(module)) <= agreement(engine, 1e-6)


class Cut(nn.Module):
    """All of the output leaves torch's sight on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(x[:, 0])
        # as inference_mode would: the values are right, the tangent is gone
        return (
            out
            if torch.is_grad_enabled()
            else F.linear(x[:, 0], self.head.weight.data, self.head.bias.data).data
        )


def test_a_loss_without_tangent_is_seen() -> None:
    torch.manual_seed(0)
    with pytest.raises(EngineError, match=r"carries no tangent.*engine='double'"):
        run(Cut().double(), "forward")


class HalfCut(Cut):
    """One of two branches loses its tangent: the result would look fine and be wrong."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.head(x[:, 1])


def test_a_part_without_tangent_is_seen() -> None:
    torch.manual_seed(0)
    with pytest.raises(EngineError, match=r"drops tangents.*engine='double'"):
        run(HalfCut().double(), "forward")


def test_masks_that_cannot_be_replayed_are_seen() -> None:
    torch.manual_seed(0)
    with pytest.raises(EngineError, match="random numbers that nobody can draw again"):
        run(Unrepeatable().double(), "forward")


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_masks_from_a_generator_of_the_students_own_are_replayed(engine: str) -> None:
    torch.manual_seed(0)
    module = OwnRandom().double()
    assert relative(run(module, engine), truth(module)) <= agreement(engine, 1e-6)
    before = module.generator.get_state()
    run(module, engine)
    assert torch.equal(module.generator.get_state(), before)


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_clear_errors(engine: str) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).double()
    student, optimizer = mw.Student(module), torch.optim.SGD(module.parameters(), lr=0.1)
    train, meta = batch((3, 8), 6, 1), batch((3, 8), 5, 2)
    ones = torch.ones(6).double().requires_grad_()

    def solve(weigh: object, train: mw.Batch = train, meta: mw.Batch = meta) -> None:
        mw.hypergradient(student, optimizer, train, meta, weigh, [ones], engine_for(engine, optimizer))

    with pytest.raises(ValueError, match=r"shape \[6\], got \(5,\)"):
        solve(lambda _s: ones[:5])
    with pytest.raises(ValueError, match="non-negative"):
        solve(lambda _s: ones - 2)
    with pytest.raises(ValueError, match=r"depend on none of the teacher's parameters"):
        solve(lambda _s: ones.detach())
    with pytest.raises(mw.NonFiniteError, match=r"weight of 1 of 6 samples.*index 102"):
        solve(lambda _s: ones.index_fill(0, torch.tensor([2]), float("nan")))
    bad = train.inputs[0].clone()
    bad[3] = float("nan")
    with pytest.raises(mw.NonFiniteError, match=r"train loss of 1 of 6.*103") as caught:
        solve(lambda _s: ones, mw.Batch((bad,), train.targets, train.index))
    assert caught.value.index is not None
    assert caught.value.index.tolist() == [103]
    with pytest.raises(mw.NonFiniteError, match="meta loss of 5 of 5"):
        solve(lambda _s: ones, meta=mw.Batch((bad[3:4].expand(5, -1, -1),), meta.targets, meta.index))
    with pytest.raises(ValueError, match="labels run from 0 to 2, got 7 at position 1"):
        solve(lambda _s: ones, mw.Batch(train.inputs, torch.tensor([0, 7, 1, 1, 1, 1]), train.index))


def test_unknown_engine_and_unroll() -> None:
    module = nn.Linear(8, 3).double()
    student, optimizer = mw.Student(module), torch.optim.SGD(module.parameters(), lr=0.1)
    one = batch((8,), 6, 1)
    w = torch.ones(6).double().requires_grad_()
    with pytest.raises(KeyError, match="Did you mean 'forward'"):
        mw.hypergradient(student, optimizer, one, one, lambda _s: w, [w], "foward")
    with pytest.raises(ValueError, match="unrolls 1 inner step"):
        mw.hypergradient(student, optimizer, [one, one], one, lambda _s: w, [w], "forward")
    with pytest.raises(ValueError, match="empty list"):
        mw.hypergradient(student, optimizer, [], one, lambda _s: w, [w], "higher")


def test_an_optimizer_that_moves_nothing_that_matters() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.idle = nn.Linear(8, 3), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x)

    module = Unused().double()
    one = batch((8,), 6, 1)
    w = torch.ones(6).double().requires_grad_()
    optimizer = torch.optim.SGD(module.idle.parameters(), lr=0.1)
    for engine in STEP_ENGINES:
        with pytest.raises(EngineError, match="does not depend on"):
            mw.hypergradient(
                mw.Student(module), optimizer, one, one, lambda _s: w, [w], engine_for(engine, optimizer)
            )


@pytest.mark.parametrize("margin", [84, 90, 97])
@pytest.mark.parametrize("engine", ["ghost", "forward", "double"])
def test_a_batch_whose_slopes_are_below_the_smallest_normal_number(engine: str, margin: int) -> None:
    """They have few digits, or none, and nothing that they are held against has more."""
    random = torch.Generator().manual_seed(0)
    module = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        module.weight.zero_()[0, 0] = 1.0
    x = 0.1 * torch.randn(6, 4, generator=random)
    x[:, 0] = margin + 3 * torch.rand(6, generator=random)
    train = mw.Batch((x,), torch.zeros(6, dtype=torch.int64), torch.arange(6))
    meta = mw.Batch((0.01 * x.flip(1),), torch.arange(6) % 2, torch.arange(6, 12))
    optimizer, w = torch.optim.SGD(module.parameters(), lr=0.1), torch.rand(6, requires_grad=True)
    (slopes,) = mw.hypergradient(mw.Student(module), optimizer, train, meta, lambda _s: w, [w], engine).grads
    assert float(slopes.abs().max()) < torch.finfo(torch.float32).tiny
