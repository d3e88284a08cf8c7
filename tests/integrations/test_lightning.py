"""Weighted in Lightning's loop against metaweight's own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from slowly import slowly
from step_parts import ByLoss
from torch import nn
from torch.utils.data import Subset, TensorDataset

import metaweight as mw

lightning = pytest.importorskip("lightning")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*number of training batches.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Started(ByLoss):
    """Weights that differ from the first step on."""

    def __init__(self, spec: object = None) -> None:
        super().__init__(spec)
        nn.init.constant_(self.score.weight, 0.3)


class Classifier(mw.lightning.Weighted):
    """With momentum, and a rate that falls with each epoch."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.module.parameters(), lr=0.2, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)]


class Validated(Classifier):
    """Looks at other rows between epochs, without weights."""

    def validation_step(self, batch: mw.Batch, _number: int) -> None:
        self.log("valid_loss", F.cross_entropy(batch.call(self), batch.targets))


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3)).double()


def pairs(count: int, seed: int) -> TensorDataset:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, generator=draw, dtype=torch.float64)
    return TensorDataset(x, torch.randint(3, (count,), generator=draw))


def trainer(folder: Path, **options: Any) -> Any:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    still = {"accelerator": "cpu", "default_root_dir": folder, "enable_checkpointing": False}
    return lightning.Trainer(**{**quiet, **still, "max_epochs": 2, **options})


def own_loop(parts: int) -> tuple[nn.Module, ByLoss]:
    """``step`` for batches that are a step, ``weigh`` for a third of one."""
    student, teacher = mw.Student(module()), Started().double()
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.2, momentum=0.9)
    own = torch.optim.Adam(teacher.parameters(), lr=0.01)
    reweighter = mw.Reweighter(
        student, teacher, optimizer=optimizer, teacher_optimizer=own, engine="double", max_norm=0.4
    )
    whole, meta = (data.tensors for data in (pairs(18, 1), pairs(5, 2)))
    trusted = mw.Batch((meta[0],), meta[1], torch.arange(5))
    for _ in range(2):
        for number, rows in enumerate(torch.arange(18).split(3), start=1):
            train = mw.Batch((whole[0][rows],), whole[1][rows], rows)
            if parts == 1:
                reweighter.step(train, trusted)
                continue
            weights = reweighter.weigh(train, trusted, micro_batches=parts)
            losses = F.cross_entropy(train.call(student.module), train.targets, reduction="none")
            ((weights * losses).mean() / parts).backward()
            if number % parts == 0 or number == 6:
                torch.nn.utils.clip_grad_norm_(student.module.parameters(), 0.4)
                optimizer.step()
                optimizer.zero_grad()
        for group in (*optimizer.param_groups, *own.param_groups):
            group["lr"] *= 0.7
    return student.module, teacher


@pytest.mark.parametrize("parts", [4, *slowly(1)])
def test_it_is_metaweights_own_loop(parts: int, tmp_path: Path) -> None:
    model = Classifier(
        module(),
        pairs(5, 2),
        teacher=Started(),
        teacher_learning_rate=0.01,
        trusted_batch_size=5,
        engine="double",
    )
    loop = trainer(tmp_path, accumulate_grad_batches=parts, gradient_clip_val=0.4)
    loop.fit(model, mw.lightning.loader(pairs(18, 1), batch_size=3))
    student, teacher = own_loop(parts)
    assert abs(teacher.score.weight.item() - 0.3) > 1e-3
    ours = [*model.module.state_dict().values(), *model.weighing.reweighter.teacher.parameters()]
    for a, b in zip(ours, [*student.state_dict().values(), *teacher.parameters()], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    assert {"weight_mean", "meta_loss", "unweighted_loss"} <= loop.logged_metrics.keys()
    assert mw.RunFolder(tmp_path).read_weights().weights.shape == (2, 18)


def test_a_resumed_run_is_an_undisturbed_one(tmp_path: Path) -> None:
    def fit(folder: Path, resume: Path | None = None) -> Any:
        model = Validated(module(), pairs(5, 2), teacher="recall", trusted_batch_size=2, engine="double")
        each = lightning.pytorch.callbacks.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
        loop = trainer(folder, max_epochs=4, enable_checkpointing=True, callbacks=[each])
        rows = mw.lightning.loader(pairs(12, 1), batch_size=4)
        loop.fit(model, rows, mw.lightning.loader(pairs(4, 3), batch_size=4), ckpt_path=resume)
        return model

    whole = fit(tmp_path / "whole")
    resumed = fit(tmp_path / "again", tmp_path / "whole" / "epoch=1.ckpt")
    teachers = [one.weighing.reweighter.teacher.state_dict() for one in (whole, resumed)]
    histories = [one.weighing.history.state_dict() for one in (whole, resumed)]
    answers = [one.weighing.answers.state_dict() for one in (whole, resumed)]
    students = [one.module.state_dict() for one in (whole, resumed)]
    for ours, theirs in (students, teachers, histories, answers):
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert float(whole.weights()["mean_weight"].std()) > 1e-4


def test_bfloat16_and_rows_of_a_subset(tmp_path: Path) -> None:
    single, trusted = (TensorDataset(x.float(), y) for x, y in (pairs(12, 1).tensors, pairs(4, 2).tensors))
    rows = torch.utils.data.DataLoader(
        Subset(mw.data.Indexed(single), [3, 7, 8, 11]), batch_size=2, collate_fn=mw.data.collate, shuffle=True
    )
    model = Classifier(module().float(), trusted, engine="double")
    trainer(tmp_path, precision="bf16-mixed", max_epochs=1).fit(model, rows)
    assert sorted(model.suspects()["index"]) == [3, 7, 8, 11]
    assert len(model.weights()) == 12


def test_a_loader_of_ones_own_and_what_is_left(tmp_path: Path) -> None:
    own = torch.utils.data.DataLoader(pairs(12, 1), batch_size=4, shuffle=True)
    model = Classifier(module(), pairs(4, 2), engine="double")
    trainer(tmp_path).fit(model, mw.data.numbered(own))
    suspects = model.suspects()
    given = pairs(12, 1).tensors[1][suspects["index"].tolist()]
    assert suspects["given_label"].tolist() == given.tolist()
    assert list(suspects)[:4] == ["index", "given_label", "suggested_label", "share"]
    assert {"report.html", "weights.csv", "result.json"} <= {path.name for path in tmp_path.iterdir()}
    page = model.report(tmp_path / "page.html")
    assert "trained for 2 epochs" in page.read_text()
    with pytest.raises(FileExistsError, match=r"page\.html is there already"):
        model.report(page)


def test_what_is_refused(tmp_path: Path) -> None:
    rows = mw.lightning.loader(pairs(6, 1), batch_size=3)
    with pytest.raises(TypeError, match="trusted data set has a length and items by position"):
        Classifier(module(), rows)
    model = Classifier(module(), teacher="uniform")
    with pytest.raises(mw.MetaweightError, match="before the first step"):
        model.suspects()
    with pytest.raises(ValueError, match="clip by norm"):
        trainer(tmp_path, gradient_clip_val=0.1, gradient_clip_algorithm="value").fit(model, rows)
    with pytest.raises(TypeError, match="a loader gives Batches"):
        trainer(tmp_path).fit(model, torch.utils.data.DataLoader(pairs(6, 1), batch_size=3))
    with pytest.raises(ValueError, match="give a trusted data set"):
        trainer(tmp_path).fit(Classifier(module()), rows)
    own = torch.utils.data.DataLoader(range(6), batch_size=3, collate_fn=lambda _: next(iter(rows)))
    with pytest.raises(TypeError, match=r"cannot be counted.*samples=N"):
        trainer(tmp_path).fit(model, own)
