"""Engine ``ghost``: each layer's rule, the gradient at other weights, what it costs, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import metaweight as mw
from metaweight.engines import EngineError
from metaweight.engines.base import Recorded, keeping
from metaweight.engines.ghost import Ghost, Shares
from metaweight.engines.one_step import TrainPass
from metaweight.inner import InnerStep
from metaweight.replay import RandomState
from oracles import batch as words_batch
from oracles import make, relative

UNITS = 6
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


class Parts(nn.Module):
    """Some layers, a function of them, and a head [..., 5] -> [3] over the mean of all that is between."""

    def __init__(self, call: Callable[[Parts, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.head = nn.Linear(5, 3)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.call(self, x))


def flat(x: Tensor) -> Tensor:
    """[B, C, ...] -> [B, 5], nothing of it lost by symmetry."""
    x = x.flatten(1)
    return F.pad(x, (0, -x.shape[1] % 5)).unflatten(1, (5, -1)).square().mean(2)


def conv(*sizes: int, **options: object) -> Callable[[], nn.Module]:
    return lambda: Parts(lambda m, x: flat(m.conv(x).tanh()), conv=nn.Conv2d(*sizes, **options))


def words(x: Tensor) -> Tensor:
    return (x.flatten(1)[:, :20].abs() * 3).long().clamp(max=6)


def grown(layer: nn.Module) -> nn.Module:
    """First weights of a norm are 1 and 0, which hides a forgotten factor."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, mean=0.5)
    return layer


def in_eval(layer: nn.Module) -> nn.Module:
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    return grown(layer.eval())


def tied() -> nn.Module:
    module = Parts(
        lambda m, x: m.out(m.norm(m.table(words(x)) + m.other(words(x))).mean(1))[:, :5],
        table=nn.Embedding(7, 5, padding_idx=0),
        other=nn.Embedding(7, 5),
        norm=nn.LayerNorm(5),
        out=nn.Linear(5, 7, bias=False),
    )
    module.other.weight = module.out.weight = module.table.weight
    return module


def parts(call: Callable[[Parts, Tensor], Tensor], **layers: Callable[[], nn.Module]) -> Callable[[], Parts]:
    """Makes ``Parts`` with layers made anew."""
    return lambda: Parts(call, **{name: layer() for name, layer in layers.items()})


def sequence(m: Parts, x: Tensor) -> Tensor:
    return m.a(m.b(x).tanh()).mean((1, 2))


def flattened(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(0, 2)).view(len(x), -1, 5).tanh().mean(1)


def in_place(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(2)).mul_(2).tanh_().mean(1)


def dropped(m: Parts, x: Tensor) -> Tensor:
    return flat(F.dropout(m.a(x), 0.4, m.training).tanh())


def checkpointed(m: Parts, x: Tensor) -> Tensor:
    return checkpoint(lambda x: dropped(m, x), x, use_reentrant=False)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear-wide": parts(lambda m, x: flat(m.a(x.flatten(1)).tanh()), a=lambda: nn.Linear(48, 60)),
    "linear-sequence": parts(sequence, b=lambda: nn.Linear(4, 9), a=lambda: nn.Linear(9, 5, bias=False)),
    "linear-twice": parts(lambda m, x: m.a(m.a(x.flatten(1)[:, :5]).tanh()), a=lambda: nn.Linear(5, 5)),
    "linear-on-flattened-rows": parts(flattened, a=lambda: nn.Linear(4, 5)),
    "view-changed-in-place": parts(in_place, a=lambda: nn.Linear(16, 5)),
    "conv-strided": conv(3, 4, 3, stride=2, padding=1),
    "conv-narrowing": conv(3, 1, 2),
    "conv-grouped-dilated": conv(3, 6, (1, 2), groups=3, dilation=2, padding=(2, 1), bias=False),
    "conv-same": conv(3, 4, (2, 3), padding="same"),
    "conv-same-odd": conv(3, 4, 3, padding="same", dilation=2),
    "conv-valid": conv(3, 4, 3, padding="valid"),
    "conv-reflect": conv(3, 4, 3, padding=(1, 2), padding_mode="reflect", stride=2),
    "conv-circular-same": conv(3, 4, 2, padding="same", padding_mode="circular"),
    "embedding": parts(lambda m, x: m.a(words(x)).tanh().mean(1), a=lambda: nn.Embedding(7, 5)),
    "embedding-padded": parts(
        lambda m, x: m.a(words(x)).tanh().mean(1), a=lambda: nn.Embedding(7, 5, padding_idx=-7)
    ),
    "tied": tied,
    "layer-norm": parts(
        lambda m, x: flat(m.a(m.b(x)).tanh()),
        b=lambda: grown(nn.LayerNorm((4, 4))),
        a=lambda: grown(nn.LayerNorm(4, bias=False)),
    ),
    "group-norm": parts(lambda m, x: flat(m.a(x).tanh_()), a=lambda: grown(nn.GroupNorm(1, 3))),
    "batch-norm-eval": parts(lambda m, x: flat(m.a(x).tanh()), a=lambda: in_eval(nn.BatchNorm2d(3))),
    "batch-norm-1d-eval": parts(
        lambda m, x: m.a(x.flatten(1)[:, :5]).tanh(), a=lambda: in_eval(nn.BatchNorm1d(5))
    ),
    "instance-norm": parts(
        lambda m, x: flat(m.a(m.b(x)).tanh()),
        a=lambda: nn.Conv2d(3, 2, 2),
        b=lambda: nn.InstanceNorm2d(3, track_running_stats=True),
    ),
    "dropout": parts(dropped, a=lambda: nn.Conv2d(3, 4, 2)),
    "checkpoint": parts(checkpointed, a=lambda: nn.Conv2d(3, 4, 2)),
    "checkpoint-in-the-middle": parts(
        lambda m, x: flat(m.b(checkpointed(m, m.b(x).tanh())[:, :3, None, None])),
        a=lambda: nn.Conv2d(3, 4, 2),
        b=lambda: nn.Conv2d(3, 3, 1),
    ),
}


def batch(size: int, seed: int, dtype: torch.dtype = torch.float64) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, 4, 4, generator=g, dtype=torch.float64).to(dtype)
    return mw.Batch((x,), torch.randint(3, (size,), generator=g), torch.arange(size))


def build(case: Callable[[], nn.Module], dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(4)
    return case().to(dtype)


def slopes(module: nn.Module, engine: str, dtype: torch.dtype = torch.float64, **chosen: object) -> Tensor:
    moved = chosen.pop("moved", [p for p in module.parameters() if p.requires_grad])
    optimizer = torch.optim.SGD(moved, lr=0.3, momentum=0.5)
    w = torch.linspace(0.2, 1.7, UNITS, dtype=dtype).requires_grad_()
    torch.manual_seed(5)
    train, meta = batch(UNITS, 1, dtype), batch(5, 2, dtype)
    return mw.hypergradient(
        mw.Student(module), optimizer, train, meta, lambda _s: w, [w], engine, **chosen
    ).grads[0]


def shares(
    module: nn.Module, weights: Tensor, *, keep_graph: bool = True, engine: Ghost | None = None
) -> tuple[Shares, Tensor, Recorded]:
    """A differentiated pass, its loss, and what was recorded."""
    engine, student, one = engine or Ghost(), mw.Student(module), batch(UNITS, 1)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.3)
    torch.manual_seed(5)
    random = RandomState.of(student.device)
    with keeping(engine, student) as kept:
        forward = student(one)
    recorded = Recorded(forward, {}, random, keep_graph=keep_graph, kept=kept)
    inner = InnerStep.of(optimizer, student.parameters())
    train = TrainPass(student, one, recorded, inner, keep_graph)
    return engine.differentiate(train, weights), forward.loss, recorded


@pytest.mark.parametrize("case", LAYERS)
def test_slopes_equal_those_of_higher(case: str) -> None:
    module = build(LAYERS[case])
    before = {name: b.clone() for name, b in module.named_buffers()}
    expected = slopes(module, "higher")
    assert float(expected.abs().min()) > 1e-7
    assert relative(slopes(module, "ghost"), expected) <= 1e-9
    assert not any("forward" in vars(part) for part in module.modules())
    assert all(torch.equal(before[name], b) for name, b in module.named_buffers())


@pytest.mark.parametrize("case", LAYERS)
def test_gradient_at_any_weights_equals_autograd(case: str) -> None:
    """First weights of 0, as L2RW has them, lose nothing of what comes after."""
    module = build(LAYERS[case])
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    ours, loss, _ = shares(module, torch.zeros(UNITS).double())
    assert all(not bool(g.any()) for g in ours.gradient.values())
    for seed in (1, 2):
        w = torch.rand(UNITS, generator=torch.Generator().manual_seed(seed)).double() - 0.2
        expected = torch.autograd.grad((w * loss).mean(), list(parameters.values()), retain_graph=True)
        found = ours.gradient_at(w)
        assert set(found) == set(parameters)
        for name, value in zip(parameters, expected, strict=True):
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", LAYERS)
def test_slopes_are_per_sample_gradients_times_a_direction(case: str) -> None:
    """Any direction, also where no gradient can point: at an embedding's padding."""
    module = build(LAYERS[case])
    parameters = dict(module.named_parameters())
    ours, loss, _ = shares(module, torch.ones(UNITS).double())
    direction = {name: torch.randn_like(p) for name, p in parameters.items()}
    expected = [
        sum(
            (g * direction[name]).sum()
            for name, g in zip(
                parameters,
                torch.autograd.grad(one, list(parameters.values()), retain_graph=True),
                strict=True,
            )
        )
        for one in loss
    ]
    torch.testing.assert_close(ours.slopes(direction), torch.stack(expected), rtol=1e-11, atol=1e-14)


def test_what_the_optimizer_does_not_hold_and_what_is_out_of_scope_is_left_out() -> None:
    module = build(LAYERS["tied"])
    moved = [module.norm.weight, module.head.bias]
    assert relative(slopes(module, "ghost", moved=moved), slopes(module, "higher", moved=moved)) <= 1e-9
    narrow = {"scope": ["norm", "head"]}
    assert relative(slopes(module, "ghost", **narrow), slopes(module, "forward", **narrow)) <= 1e-9
    module.table.requires_grad_(False)
    assert relative(slopes(module, "ghost"), slopes(module, "higher")) <= 1e-9


def test_hooks_change_what_a_layer_gives_after_its_rule() -> None:
    module = build(LAYERS["linear-wide"])
    module.a.register_forward_pre_hook(lambda _m, inputs: (inputs[0] * 2,))
    module.a.register_forward_hook(lambda _m, _i, output: output * 1.5)
    assert relative(slopes(module, "ghost"), slopes(module, "forward")) <= 1e-9


def test_a_pass_with_autocast_is_near_the_one_in_full_precision() -> None:
    def inside(m: Parts, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            hidden = m.norm(m.table(words(x)) + m.b(x.flatten(1))[:, None])
            return m.a(hidden.tanh()).mean(1).float()

    layers = {"table": nn.Embedding(7, 8), "b": nn.Linear(48, 8), "norm": nn.LayerNorm(8)}
    module = build(lambda: Parts(inside, **layers, a=nn.Linear(8, 5)), torch.float32)
    ours, exact = (slopes(module, engine, torch.float32) for engine in ("ghost", "higher"))
    assert relative(ours, exact) <= 3e-2


# refused before anything is computed, by the name of the part


class Own(nn.Linear):
    pass


def linear(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(1)).tanh()


def weight_normed() -> nn.Module:
    return Parts(linear, a=nn.utils.parametrizations.weight_norm(nn.Linear(48, 5)))


def pruned() -> nn.Module:
    return Parts(linear, a=nn.utils.prune.identity(nn.Linear(48, 5), "weight"))


def own_forward() -> nn.Module:
    module = Parts(linear, a=nn.Linear(48, 5))
    module.a.forward = lambda x: F.linear(x, 2 * module.a.weight)
    return module


def bare() -> nn.Module:
    module = Parts(lambda m, x: m.scale * x.flatten(1)[:, :5])
    module.scale = nn.Parameter(torch.ones(5))
    return module


def table(**options: object) -> Callable[[], nn.Module]:
    return lambda: Parts(lambda m, x: m.a(words(x)).mean(1), a=nn.Embedding(7, 5, **options))


def normed(**options: object) -> Callable[[], nn.Module]:
    return parts(lambda m, x: flat(m.a(x)), a=lambda: nn.BatchNorm2d(3, **options))


def frozen_norm() -> nn.Module:
    module = normed()()
    module.a.requires_grad_(False)
    return module


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "batch-norm": (normed(), r"'a' \(BatchNorm2d\) couples"),
    "batch-norm-frozen": (frozen_norm, r"'a' \(BatchNorm2d\) couples"),
    "batch-norm-without-statistics": (lambda: normed(track_running_stats=False)().eval(), "couples"),
    "instance-norm": (
        parts(lambda m, x: flat(m.a(x)), a=lambda: nn.InstanceNorm2d(3, affine=True)),
        r"'weight' of 'a' \(InstanceNorm2d\)",
    ),
    "subclass": (parts(linear, a=lambda: Own(48, 5)), r"'weight' of 'a' \(Own\)"),
    "own-forward": (own_forward, r"'weight' of 'a' \(Linear\)"),
    "weight-norm": (weight_normed, r"of 'a' \(ParametrizedLinear\)"),
    "pruned": (pruned, r"'weight_orig' of 'a' \(Linear\)"),
    "bare-parameter": (bare, r"'scale' of the student \(Parts\)"),
    "bag": (
        parts(lambda m, x: m.a(words(x)), a=lambda: nn.EmbeddingBag(7, 5)),
        r"'weight' of 'a' \(EmbeddingBag\)",
    ),
    "max-norm": (table(max_norm=1.0), r"'weight' of 'a' \(Embedding\)"),
    "by-frequency": (table(scale_grad_by_freq=True), r"'weight' of 'a' \(Embedding\)"),
    "sparse": (table(sparse=True), r"'weight' of 'a' \(Embedding\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_part_without_a_rule_is_refused_by_name(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(EngineError, match=f"{message}.*use engine='forward' or 'higher'"):
        slopes(build(make), "ghost")


def test_a_part_without_a_rule_may_stay_where_it_is() -> None:
    module = build(bare)
    module.scale.requires_grad_(False)
    assert relative(slopes(module, "ghost"), slopes(module, "higher")) <= 1e-9


# what no class tells is found by the gradient of the first batch


def time_first(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(2).repeat(1, 2, 1).transpose(0, 1)).tanh().mean(0)  # as many times as units


def rows_of_times(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(2).transpose(0, 1).flatten(0, 1)).view(3, -1, 5).tanh().mean(0)


def positions(m: Parts, x: Tensor) -> Tensor:
    return (
        (m.a(x.flatten(2).repeat(1, 2, 1)) * m.b(torch.arange(6))).tanh().mean(1)
    )  # as many places as units


def other_use(m: Parts, x: Tensor) -> Tensor:
    return F.linear(m.a(words(x)).mean(1).tanh(), m.a.weight)[:, :5]


def coupled(m: Parts, x: Tensor) -> Tensor:
    hidden = m.a(x.flatten(1))
    return (hidden - hidden.mean(0)).tanh()


def bound(m: Parts, x: Tensor) -> Tensor:
    return nn.Linear.forward(m.a, x.flatten(1)).tanh()


SEEN: dict[str, tuple[Callable[[Parts, Tensor], Tensor], dict[str, Callable[[], nn.Module]]]] = {
    "time-first": (time_first, {"a": lambda: nn.Linear(16, 5)}),
    "rows-of-times": (rows_of_times, {"a": lambda: nn.Linear(16, 5)}),
    "positions": (positions, {"a": lambda: nn.Linear(16, 5), "b": lambda: nn.Embedding(6, 5)}),
    "other-use": (other_use, {"a": lambda: nn.Embedding(7, 5)}),
    "coupled": (coupled, {"a": lambda: nn.Linear(48, 5)}),
    "past-its-call": (bound, {"a": lambda: nn.Linear(48, 5)}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", SEEN)
def test_what_no_class_tells_is_seen_at_the_first_batch(case: str, dtype: torch.dtype) -> None:
    call, layers = SEEN[case]
    module = build(lambda: Parts(call, **{name: layer() for name, layer in layers.items()}), dtype)
    with pytest.raises(EngineError, match=r"the calls of '[ab]' .*use engine='forward' or 'higher'"):
        slopes(module, "ghost", dtype)


def test_a_first_batch_of_one_unit_proves_nothing() -> None:
    engine = Ghost()
    call, layers = SEEN["time-first"]
    module = build(lambda: Parts(call, **{name: layer() for name, layer in layers.items()}))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    for size in (1, UNITS):
        w = torch.ones(size).double().requires_grad_()
        arguments = (
            mw.Student(module),
            optimizer,
            batch(size, 1),
            batch(5, 2),
            lambda _s, w=w: w,
            [w],
            engine,
        )
        if size == 1:
            mw.hypergradient(*arguments)
    with pytest.raises(EngineError, match="batch is not dimension 0"):
        mw.hypergradient(*arguments)


def test_an_input_without_the_batch_is_refused_by_its_shape() -> None:
    def call(m: Parts, x: Tensor) -> Tensor:
        return m.a(torch.ones(1, 4).to(x)) + x.flatten(1)[:, :5]

    with pytest.raises(EngineError, match=r"'a' \(Linear\) got an input of shape \(1, 4\) for 6 units"):
        slopes(build(lambda: Parts(call, a=nn.Linear(4, 5))), "ghost")


def test_an_input_that_is_changed_in_place_after_the_call_is_seen() -> None:
    def call(m: Parts, x: Tensor) -> Tensor:
        hidden = x.flatten(1).tanh()
        out = m.a(hidden)
        hidden.zero_()
        return out

    with pytest.raises(EngineError, match=r"input of 'a' \(Linear\) was changed in place"):
        slopes(build(lambda: Parts(call, a=nn.Linear(48, 5))), "ghost")


def test_a_pass_that_nobody_recorded_is_refused() -> None:
    module = build(LAYERS["linear-wide"])
    student = mw.Student(module)
    recorded = Recorded(student(batch(UNITS, 1)), {}, RandomState.of(student.device))
    with pytest.raises(EngineError, match="inside keeping"):
        slopes(module, "ghost", recorded=recorded)


def test_layers_are_as_before_after_an_error() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(7, 1))  # do not fit
    with pytest.raises(RuntimeError), keeping(Ghost(), mw.Student(module)):
        module(torch.ones(1, 3))
    assert not any("forward" in vars(part) for part in module)


# what it costs


def flops(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_a_matrix_product_a_layer_for_the_gradient_and_one_for_the_slopes() -> None:
    module = build(
        lambda: Parts(lambda m, x: m.b(m.a(x).relu()).mean((1, 2)), a=nn.Linear(4, 16), b=nn.Linear(16, 5))
    )
    engine = Ghost()
    ones = torch.ones(UNITS).double()
    shares(module, ones, engine=engine)  # the first batch, with its checks
    forward = flops(lambda: module(*batch(UNITS, 1).inputs))
    first = 2 * UNITS * 3 * 4 * 4 * 16  # needs no gradient of its input
    ours, _, _ = shares(module, ones, engine=engine)
    biases = 2 * UNITS * (16 + 5 + 3)
    assert flops(lambda: shares(module, ones, engine=engine)) == 3 * forward - first + biases
    direction = {name: torch.ones_like(p) for name, p in module.named_parameters()}
    assert flops(lambda: ours.gradient_at(ones)) == forward + biases
    assert flops(lambda: ours.slopes(direction)) == forward  # biases: too small to be counted
    assert flops(lambda: ours.slopes({"a.weight": direction["a.weight"]})) == first


@pytest.mark.parametrize("keep_graph", [False, True])
def test_the_record_lives_as_long_as_the_graph(keep_graph: bool) -> None:
    module = build(LAYERS["conv-strided"])
    engine = Ghost()
    shares(module, torch.ones(UNITS).double(), engine=engine)
    _, _, recorded = shares(module, torch.ones(UNITS).double(), keep_graph=keep_graph, engine=engine)
    assert len(recorded.kept.calls) == (2 if keep_graph else 0)


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_the_real_step_takes_the_gradient_at_the_new_weights_without_a_backward(
    schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for engine in ("forward", "ghost"):
        student, own, _, _ = make("words-dropout", "adam")
        torch.manual_seed(1)
        teacher = mw.build_teacher("mlp", spec=student.spec(words_batch((3, 8), 6, 1)))
        reweighter = mw.Reweighter(
            student,
            teacher,
            optimizer=own,
            teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.05),
            engine=engine,
            schedule=schedule,
            max_norm=0.5,
        )
        with monkeypatch.context() as patch:
            if engine == "ghost":
                patch.setattr(Tensor, "backward", None)
            torch.manual_seed(2)
            for step in range(3):
                report = reweighter.step(words_batch((3, 8), 6, step), words_batch((3, 8), 5, 10 + step))
        state = [*student.module.parameters(), *teacher.parameters(), report.weights]
        found.append(torch.cat([t.detach().flatten() for t in state]))
    assert relative(found[1], found[0]) <= 1e-9
