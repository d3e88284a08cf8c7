"""What the README shows works as it stands."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import metaweight as mw

README = Path(__file__).parent.parent / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer2 = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
        self.layer3 = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer3(self.layer2(x)))


def loaders() -> tuple[DataLoader[mw.Batch], DataLoader[mw.Batch]]:
    g = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(60, 6, generator=g), torch.randint(0, 3, (60,), generator=g))
    one, two = torch.utils.data.random_split(data, [40, 20], generator=g)
    make = {"batch_size": 10, "shuffle": True, "collate_fn": mw.data.collate}
    return DataLoader(mw.data.Indexed(one), **make), DataLoader(mw.data.Indexed(two), **make)


def test_the_examples_run_and_are_as_short_as_the_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    training, teacher = blocks()
    for code in (training, teacher):
        assert len([line for line in code.splitlines() if line.strip()]) <= 15
    train_loader, meta_loader = loaders()
    torch.manual_seed(0)
    scope = {
        "module": Net(),
        "train_loader": train_loader,
        "meta_loader": meta_loader,
        "mw": mw,
        "torch": torch,
    }
    before = {k: v.clone() for k, v in scope["module"].state_dict().items()}
    exec(training.replace("range(30)", "range(2)"), scope)
    report = scope["report"]
    assert report.weights.shape == (10,)
    assert report.meta_loss is not None
    assert any(not torch.equal(v, before[k]) for k, v in scope["module"].state_dict().items())
    with ExitStack() as registered:

        def register(name: str) -> object:
            return lambda cls: registered.enter_context(mw.teachers.registry.temporarily(name, cls))

        monkeypatch.setattr(mw, "register_teacher", register)
        exec(teacher, scope)
        built = mw.build_teacher("margin", scope["student"].spec(scope["batch"]), hidden=5)
        assert built(scope["student"](scope["batch"]).state()).shape == (10,)


def test_the_readme_names_what_there_is() -> None:
    text = README.read_text(encoding="utf-8")
    for name in (*mw.teachers.names(), *mw.engines.names()):
        assert f"`{name}`" in text
