"""A loop of the user's own that takes its batches and weights from ``mw.Loop``."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from step_parts import ByLoss
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import metaweight as mw


class Started(ByLoss):
    """Weights that differ from the first step on."""

    def __init__(self, spec: object = None) -> None:
        super().__init__(spec)
        nn.init.constant_(self.score.weight, 0.3)


def module(outputs: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, outputs)).double()


def rows(count: int, seed: int, wrong: bool = False) -> TensorDataset:
    """Points and the side that they lie on, which each third row has wrong."""
    draw = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 4, generator=draw, dtype=torch.float64)
    labels = (points[:, 0] > 0).long()
    turned = torch.arange(count) % 3 == 0 if wrong else torch.zeros(count, dtype=torch.bool)
    return TensorDataset(points, torch.where(turned, 1 - labels, labels))


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def run(loop: mw.Loop, net: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> None:
    for _ in range(epochs):
        for x, y, weights in loop:
            step(optimizer, (weights * losses(net(x), y)).mean())


def begun(net: nn.Module, **options: Any) -> tuple[mw.Loop, torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    train = DataLoader(rows(24, 1, wrong=True), batch_size=6, shuffle=True)
    return mw.Loop(net, optimizer, train, DataLoader(rows(12, 2), batch_size=4), **options), optimizer


def test_it_is_the_reweighters_own_loop() -> None:
    net = module()
    loop, optimizer = begun(net, teacher=Started(), teacher_learning_rate=0.01, engine="double")
    torch.manual_seed(5)
    run(loop, net, optimizer, 2)

    other, teacher = module(), Started().double()
    sgd = torch.optim.SGD(other.parameters(), lr=0.2, momentum=0.9)
    adam = torch.optim.Adam(teacher.parameters(), lr=0.01)
    reweighter = mw.Reweighter(
        mw.Student(other), teacher, optimizer=sgd, teacher_optimizer=adam, engine="double"
    )
    train = DataLoader(rows(24, 1, wrong=True), batch_size=6, shuffle=True)
    trusted = itertools.cycle(list(mw.data.numbered(DataLoader(rows(12, 2), batch_size=4))))
    torch.manual_seed(5)
    for _ in range(2):
        for batch in mw.data.numbered(train):
            weights = reweighter.weigh(batch, next(trusted))
            step(sgd, (weights * losses(other(*batch.args), batch.targets)).mean())
    assert abs(teacher.score.weight.item() - 0.3) > 1e-4
    ours = [*net.parameters(), *loop.weighing.reweighter.teacher.parameters()]
    for a, b in zip(ours, [*other.parameters(), *teacher.parameters()], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_wrong_rows_are_suspects_and_the_page_says_so(tmp_path: Path) -> None:
    net = module()
    train, trusted = rows(240, 1, wrong=True), rows(60, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(train, batch_size=20, shuffle=True, drop_last=True)
    loop = mw.Loop(net, optimizer, loader, trusted, folder=tmp_path / "run")
    run(loop, net, optimizer, 6)
    assert loop.weighing.reweighter.student.taps == ("1",)
    assert net.training
    suspects = loop.suspects()
    assert (suspects["index"][:40] % 3 == 0).mean() > 0.9
    assert suspects["given_label"].tolist() == train.tensors[1][suspects["index"].tolist()].tolist()
    with torch.no_grad():
        said = net.eval()(train.tensors[0]).softmax(dim=1).amax(dim=1)[suspects["index"].tolist()]
    assert suspects["share"].tolist() == pytest.approx(said.tolist(), abs=1e-6)
    assert len(loop.weights()) == 240
    page = loop.report(tmp_path / "page.html").read_text()
    assert "of 240 training rows look wrong" in page
    assert (tmp_path / "run" / "weights.csv").is_file()


def test_a_loop_that_goes_on_is_an_undisturbed_one() -> None:
    def loop(before: dict[str, Any] | None, epochs: int) -> tuple[dict[str, Any], mw.Loop]:
        net = module()
        made, optimizer = begun(net, teacher="recall", engine="double")
        if before is not None:
            net.load_state_dict(before["net"])
            optimizer.load_state_dict(before["optimizer"])
            made.load_state_dict(before["loop"])
            torch.set_rng_state(before["draws"])
        else:
            torch.manual_seed(3)
        run(made, net, optimizer, epochs)
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "loop": made.state_dict()}
        return {**state, "draws": torch.get_rng_state()}, made

    half, _ = loop(None, 2)
    resumed, whole = loop(half, 2)[1], loop(None, 4)[1]
    assert torch.equal(resumed.weighing.history.weights, whole.weighing.history.weights)
    assert resumed.weighing.history.weights.shape == (4, 24)


def test_in_warm_up_all_weigh_the_same_and_it_does_not_count() -> None:
    net = module()
    loop, optimizer = begun(net, teacher=Started(), engine="double", warmup_epochs=1)
    assert all(bool((weights == 1).all()) for _, _, weights in loop)
    run(loop, net, optimizer, 1)
    samples = loop.weighing.samples()
    assert torch.equal(samples.mean_weight(), samples.weights[1])
    assert float(samples.weights[1].std()) > 0


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2).double()

    def forward(self, *, points: Tensor, scale: Tensor) -> Tensor:
        return self.head(points * scale)


class Paired(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2).double()

    def forward(self, points: Tensor, scale: Tensor) -> Tensor:
        return self.head(points * scale)


def test_inputs_come_as_the_loader_gives_them() -> None:
    whole = rows(12, 1)
    scale = torch.ones(1, dtype=torch.float64)
    named = [{"points": x, "scale": scale, "labels": y} for x, y in whole]
    paired = [((x, scale), y) for x, y in whole]
    for net, data in ((Named(), named), (Paired(), paired)):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        loop = mw.Loop(net, optimizer, DataLoader(data[:8], batch_size=4), data[8:], engine="double")
        assert len(loop) == 2
        for x, y, weights in loop:
            outputs = net(**x) if isinstance(x, dict) else net(*x)
            step(optimizer, (weights * losses(outputs, y)).mean())
        assert loop.weights()["mean_weight"][:8].notna().all()


def test_numbers_have_a_loss_of_their_own() -> None:
    points = rows(30, 1).tensors[0]
    net, data = module(1), TensorDataset(points, points[:, 0] * 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    train, trusted = (torch.utils.data.Subset(data, part) for part in (range(20), range(20, 30)))
    loader = DataLoader(train, batch_size=5)
    loop = mw.Loop(net, optimizer, loader, trusted, loss=mw.losses.squared_error)
    for x, y, weights in loop:
        step(optimizer, (weights * (net(x)[:, 0] - y) ** 2).mean())
    suspects = loop.suspects()
    assert suspects["given_label"].tolist() == pytest.approx((points[suspects["index"], 0] * 2).tolist())
    plain = mw.Loop(net, optimizer, loader, trusted)
    with pytest.raises(TypeError, match=r"labels are int64.*squared_error"):
        next(iter(plain))


def test_accumulation_and_a_scaler_reach_the_reweighter(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    weigh = mw.Reweighter.weigh

    def noted(self: mw.Reweighter, *args: Any, **options: Any) -> Tensor:
        seen.append(options)
        return weigh(self, *args, **options)

    class Scaler:
        def get_scale(self) -> float:
            return 8.0

    monkeypatch.setattr(mw.Reweighter, "weigh", noted)
    loop, _ = begun(module(), teacher="uniform", micro_batches=4, scaler=Scaler(), max_norm=0.5)
    next(iter(loop))
    assert seen == [{"teach": True, "micro_batches": 4, "loss_scale": 8.0}]
    assert loop.weighing.reweighter.live.max_norm == 0.5


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(rows(4, 1))


def test_what_is_refused() -> None:
    net, data = module(), rows(12, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loader = DataLoader(data, batch_size=4)
    with pytest.raises(TypeError, match=r"train is a DataLoader of .*got a TensorDataset"):
        mw.Loop(net, optimizer, data)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a stream has no positions"):
        mw.Loop(net, optimizer, DataLoader(Stream()))
    with pytest.raises(ValueError, match="share 12 samples"):
        mw.Loop(net, optimizer, loader, data)
    with pytest.raises(TypeError, match="trusted data set has a length"):
        mw.Loop(net, optimizer, loader, iter(data))
    with pytest.raises(TypeError, match="a Student has its loss already"):
        mw.Loop(mw.Student(net), optimizer, loader, loss=mw.losses.cross_entropy)
    with pytest.raises(mw.MetaweightError, match="before the first step of `for x, y, weights in loop`"):
        mw.Loop(net, optimizer, loader).suspects()
    with pytest.raises(ValueError, match="give a trusted data set"):
        next(iter(mw.Loop(net, optimizer, loader)))
