"""Image models: parameter counts of the papers, shapes, taps, and both ways of differentiation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jvp

from metaweight.models import build_model, default_taps, model_options, models
from metaweight.models.convnet import ConvNet
from metaweight.models.mlp import MLP
from metaweight.models.resnet import BasicBlock, ResNet
from metaweight.models.wide_resnet import WideBlock, WideResNet
from metaweight.student.taps import pool

SMALL = {
    "convnet": lambda c, s: ConvNet(4, c, s, width=4),
    "convnet-group": lambda c, s: ConvNet(4, c, s, width=4, norm="group"),
    "convnet-none": lambda c, s: ConvNet(4, c, s, width=4, norm="none"),
    "mlp": lambda c, s: MLP(4, c, s, width=6),
    "resnet": lambda c, s: ResNet(4, c, s, depth=8),
    "wide-resnet": lambda c, s: WideResNet(4, c, s, depth=10, widen=1),
    "wide-resnet-dropout": lambda c, s: WideResNet(4, c, s, depth=10, widen=1, dropout=0.3),
}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def built(name: str, channels: int = 1, size: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return SMALL[name](channels, size)


def images(size: int = 8, channels: int = 1, *, seed: int = 1) -> Tensor:
    return torch.randn(5, channels, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet-20", 269_722), ("resnet-32", 464_154), ("wrn-28-10", 36_479_194)]
)
def test_parameter_counts_are_those_of_the_papers(name: str, parameters: int) -> None:
    with torch.device("meta"):
        assert count(build_model(name, classes=10, channels=3, size=32)) == parameters


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_parameter_count_of_the_convnet_by_hand(size: int, channels: int) -> None:
    w, classes = 8, 10
    convolutions = 9 * (channels * w + w * 2 * w + 2 * w * 2 * w)
    norms = 2 * (w + 2 * w + 2 * w)
    linear = (2 * w + 1) * 4 * w + (4 * w + 1) * classes
    assert count(ConvNet(classes, channels, size, width=w)) == convolutions + norms + linear


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SMALL)
def test_every_size_gives_logits_and_every_parameter_a_gradient(name: str, channels: int, size: int) -> None:
    model = built(name, channels, size)
    logits = model(images(size, channels))
    assert logits.shape == (5, 4)
    logits.square().sum().backward()
    assert all(bool(p.grad is not None and p.grad.abs().sum() > 0) for p in model.parameters())


@pytest.mark.parametrize("name", models.names())
def test_default_taps_exist_and_the_last_one_feeds_the_head(name: str) -> None:
    """WRN-28-10 as WRN-10-1, which has the same submodules."""
    wide = name == "wrn-28-10"
    model = (
        WideResNet(4, 1, 8, depth=10, widen=1) if wide else build_model(name, classes=4, channels=1, size=8)
    )
    seen: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    for tap in default_taps(name):
        modules[tap].register_forward_hook(lambda _m, _i, out, tap=tap: seen.update({tap: pool(out)}))
    modules["head"].register_forward_pre_hook(lambda _m, inputs: seen.update(head=inputs[0]))
    model(images())
    assert list(seen) == [*default_taps(name), "head"]
    torch.testing.assert_close(seen[default_taps(name)[-1]], seen["head"], rtol=1e-5, atol=1e-6)


def mean_loss(
    model: nn.Module, x: Tensor, labels: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor], Callable[..., Tensor]]:
    """Parameters, a direction for each, and the mean loss as a function of the parameters alone."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    generator = torch.Generator().manual_seed(5)
    direction = {n: torch.randn(p.shape, dtype=p.dtype, generator=generator) for n, p in parameters.items()}

    def loss(values: dict[str, Tensor]) -> Tensor:
        torch.manual_seed(9)  # the same dropout mask at each call
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        return F.cross_entropy(functional_call(model, {**values, **buffers}, (x,)), labels)

    return parameters, direction, loss


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("training", [True, False])
def test_forward_mode_is_reverse_mode_and_both_have_a_second_derivative(name: str, training: bool) -> None:
    model = built(name).double().train(training)
    labels = torch.tensor([0, 1, 2, 3, 1])
    parameters, direction, loss = mean_loss(model, images().double(), labels)
    _, forward = jvp(loss, (parameters,), (direction,))

    def slope(values: dict[str, Tensor]) -> Tensor:
        grads = torch.autograd.grad(loss(values), list(values.values()), create_graph=True)
        return sum((g * d).sum() for g, d in zip(grads, direction.values(), strict=True))

    live = {n: p.clone().requires_grad_() for n, p in parameters.items()}
    reverse = slope(live)
    assert forward.item() == pytest.approx(reverse.item(), rel=1e-10)

    # d²loss / dt² along the direction: double backward against central differences of the slope
    second = sum(
        (g * d).sum()
        for g, d in zip(torch.autograd.grad(reverse, list(live.values())), direction.values(), strict=True)
    )
    step = 1e-6
    ahead, behind = (
        slope({n: (p + s * direction[n]).requires_grad_() for n, p in parameters.items()}).item()
        for s in (step, -step)
    )
    # the truncation of a central difference with this step and the rounding of two slopes
    assert second.item() == pytest.approx((ahead - behind) / (2 * step), rel=1e-5)


def test_shortcut_of_option_a_takes_every_second_pixel_and_adds_zeros() -> None:
    block = BasicBlock(2, 5, 2)
    x = torch.arange(2 * 7 * 7.0).view(1, 2, 7, 7)
    shortcut = block._shortcut(x)
    assert shortcut.shape == (1, 5, 4, 4)
    assert torch.equal(shortcut[:, :2], x[:, :, ::2, ::2])
    assert not shortcut[:, 2:].any()
    assert list(block.state_dict()) == [n for n in block.state_dict() if "shortcut" not in n]


def test_blocks_without_residual_are_their_shortcut() -> None:
    x = images(channels=4)
    plain, wide = BasicBlock(4, 4, 1), WideBlock(4, 4, 1, 0.0)
    nn.init.zeros_(plain.conv2.weight)
    nn.init.zeros_(wide.conv2.weight)
    assert torch.equal(plain(x), F.relu(x))
    assert torch.equal(wide(x), x)  # pre-activation: nothing after the sum


def test_wide_shortcut_is_a_convolution_of_the_activated_input() -> None:
    x = images(channels=4)
    block = WideBlock(4, 6, 2, 0.0)
    nn.init.zeros_(block.conv2.weight)
    active = F.relu(F.batch_norm(x, None, None, training=True))
    expected = torch.einsum("bchw,oc->bohw", active[:, :, ::2, ::2], block.shortcut.weight[:, :, 0, 0])
    torch.testing.assert_close(block(x), expected)


def test_convolutions_start_with_the_variance_of_fan_out() -> None:
    torch.manual_seed(0)
    weight = ResNet(10, 3, 32, depth=8).layer3[0].conv1.weight  # 32 -> 64 channels
    variance = 2 / (9 * 64)
    assert weight.var().item() == pytest.approx(variance, rel=0.042)  # 18,432 draws: 4 standard errors
    assert weight.mean().item() == pytest.approx(0, abs=4 * (variance / weight.numel()) ** 0.5)


def test_dropout_is_on_in_training_only() -> None:
    x = images()
    model = WideResNet(4, 1, 8, depth=10, widen=1, dropout=0.5)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize(("size", "sides"), [(8, [8, 4, 2]), (28, [14, 7, 4]), (32, [16, 8, 4])])
def test_the_convnet_halves_by_strides_and_rectifies_its_hidden_state(size: int, sides: list[int]) -> None:
    model = built("convnet", size=size)
    x = images(size)
    for block, side in zip((model.block1, model.block2, model.block3), sides, strict=True):
        x = block(x)
        assert x.shape[2:] == (side, side)
    hidden = model.hidden(x)
    linear = model.hidden[2]
    expected = x.mean(dim=(2, 3)) @ linear.weight.T + linear.bias
    torch.testing.assert_close(hidden, expected.clamp(min=0))
    assert bool((expected < 0).any())


def test_group_norm_couples_no_samples_and_batch_norm_does() -> None:
    x = images()
    for norm, apart in (("group", True), ("none", True), ("batch", False)):
        model = ConvNet(4, 1, 8, width=4, norm=norm)
        assert torch.allclose(model(x)[:2], model(x[:2]), atol=1e-6) is apart


def test_no_operation_is_in_place() -> None:
    for name in models.names():
        with torch.device("meta"):
            model = build_model(name, classes=4, channels=1, size=8)
        assert not [part for part in model.modules() if getattr(part, "inplace", False)]


def test_options_of_a_model_and_their_use() -> None:
    assert model_options("convnet") == {
        "width": 32,
        "norm": "batch",
        "activation": "relu",
    }
    assert model_options("resnet-20") == {}
    assert model_options("wrn-28-10") == {"dropout": 0.0}
    assert build_model("convnet", classes=4, channels=1, size=8, width=8).head.in_features == 32
    with torch.device("meta"):
        wide = build_model("wrn-28-10", classes=4, channels=1, size=8, dropout=0.3)
    assert {part.p for part in wide.modules() if isinstance(part, nn.Dropout)} == {0.3}
    assert sum(isinstance(part, nn.Dropout) for part in wide.modules()) == 12


@pytest.mark.parametrize(
    ("name", "options", "error", "complaint"),
    [
        ("conv-net", {}, KeyError, "Did you mean 'convnet'?"),
        ("convnet", {"widht": 16}, TypeError, "Did you mean 'width'?"),
        ("convnet", {"norm": "batsch"}, KeyError, "Did you mean 'batch'?"),
        ("convnet", {"activation": "gelo"}, KeyError, "Did you mean 'gelu'?"),
        ("convnet", {"width": 6}, ValueError, "multiple of 4, got 6"),
        ("resnet-20", {"depth": 32}, TypeError, "no option 'depth'"),
        ("wrn-28-10", {"dropout": 1.0}, ValueError, r"\[0, 1\), got 1.0"),
        ("convnet", {"size": 4}, ValueError, "size >= 8, got 4"),
        ("resnet-32", {"classes": 1}, ValueError, "classes >= 2, got 1"),
        ("wrn-28-10", {"channels": 0}, ValueError, "channels >= 1, got 0"),
    ],
)
def test_mistakes_are_named(name: str, options: dict, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        build_model(name, **{"classes": 4, "channels": 1, "size": 8, **options})


@pytest.mark.parametrize(
    "build",
    [
        lambda: ResNet(4, 1, 8, depth=21),
        lambda: WideResNet(4, 1, 8, depth=20),
        lambda: WideResNet(4, 1, 8, widen=0),
    ],
)
def test_impossible_networks_are_refused(build) -> None:
    with pytest.raises(ValueError, match=r"got (21|20|0)$"):
        build()


def test_default_taps_of_unknown_and_of_foreign_models() -> None:
    with pytest.raises(KeyError, match="Did you mean 'resnet-20'"):
        default_taps("resnet20")
    with (
        models.temporarily("foreign", ConvNet),
        pytest.raises(ValueError, match="name some of its submodules"),
    ):
        default_taps("foreign")


@pytest.mark.parametrize("activation", ["gelu", "relu", "tanh"])
def test_the_mlp_is_two_products_and_an_activation(activation: str) -> None:
    model, x = MLP(4, 3, 8, width=7, activation=activation), images(channels=3)
    hidden = getattr(torch, activation, F.gelu)(
        x.flatten(1) @ model.hidden[1].weight.T + model.hidden[1].bias
    )
    torch.testing.assert_close(model(x), hidden @ model.head.weight.T + model.head.bias)
    assert count(model) == (3 * 8 * 8 + 1) * 7 + (7 + 1) * 4


@pytest.mark.parametrize(("activation", "kind"), [("gelu", nn.GELU), ("tanh", nn.Tanh), ("relu", nn.ReLU)])
def test_a_convnet_has_one_kind_of_activation(activation: str, kind: type[nn.Module]) -> None:
    model = build_model("convnet", classes=4, channels=1, size=8, activation=activation)
    kinds = {"GELU": nn.GELU, "Tanh": nn.Tanh, "ReLU": nn.ReLU}
    found = [type(part) for part in model.modules() if type(part).__name__ in kinds]
    assert found == 4 * [kind]


def test_mistakes_in_an_mlp_are_named() -> None:
    with pytest.raises(KeyError, match=r"unknown activation 'gelo'. Did you mean 'gelu'"):
        MLP(4, 1, 8, activation="gelo")
    with pytest.raises(ValueError, match="width is 1 or more, got 0"):
        MLP(4, 1, 8, width=0)
