"""What the README shows works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_rows import rows
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import metaweight as mw

HOME = Path(__file__).parent.parent
README, STEP = HOME / "README.md", HOME / "docs" / "how-to" / "write-the-step-yourself.md"


def blocks(page: Path = README) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)


def block(mark: str, page: Path = README) -> str:
    """The one example with ``mark`` in it."""
    (found,) = (code for code in blocks(page) if mark in code)
    return found


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer2 = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
        self.layer3 = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer3(self.layer2(x)))


def scope() -> dict[str, object]:
    """The names that the README's examples in torch start from."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(60, 6, generator=g), torch.randint(0, 3, (60,), generator=g))
    train, trusted = torch.utils.data.random_split(data, [40, 20], generator=g)
    train_loader, trusted_loader = (
        DataLoader(part, batch_size=10, shuffle=True) for part in (train, trusted)
    )
    module = Net()
    return {
        "module": module,
        "optimizer": torch.optim.SGD(module.parameters(), lr=0.1),
        "train_set": train,
        "checked": trusted,
        "train_loader": train_loader,
        "meta_loader": trusted_loader,
        "trusted_loader": trusted_loader,
        "mw": mw,
        "torch": torch,
    }


def test_the_examples_are_as_short_as_the_readme_says() -> None:
    for code in blocks():
        assert len([line for line in code.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize("name", mw.teachers.names())
def test_every_teacher_runs_by_one_word_of_the_example(name: str) -> None:
    training = block("build_teacher", STEP).replace("range(5)", "range(2)")
    assert training.count('"jury"') == 1
    names = scope()
    before = {k: v.clone() for k, v in names["module"].state_dict().items()}
    exec(training.replace('"jury"', f'"{name}"'), names)
    assert names["report"].weights.shape == (10,)
    assert (names["report"].meta_loss is not None) == names["reweighter"].needs_meta
    assert any(not torch.equal(v, before[k]) for k, v in names["module"].state_dict().items())


def test_a_loop_of_ones_own_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = scope()
    before = {k: v.clone() for k, v in names["module"].state_dict().items()}
    exec(block("mw.Loop").replace("range(30)", "range(2)"), names)
    assert all(not torch.equal(v, before[k]) for k, v in names["module"].state_dict().items())
    assert len(names["loop"].weights()) == 40
    assert (tmp_path / "page.html").is_file()


def test_what_a_loop_of_ones_own_adds_is_five_lines() -> None:
    plain = {"for epoch in range(30):", "optimizer.zero_grad()", "optimizer.step()"}
    lines = {line.strip() for line in block("mw.Loop").splitlines()}
    assert plain < lines
    assert len(lines - plain) == 5


def test_every_example_is_run_here() -> None:
    marks = ("mw.fit", "mw.Loop")
    assert sorted(map(block, marks)) == sorted(blocks())


def test_one_call_of_the_readme_gives_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train, checked, test = (
        pd.DataFrame(rows(count, seed)).rename(columns={"y": "z", "kind": "y"})
        for seed, count in enumerate((100, 40, 40))
    )
    names: dict[str, object] = {"train": train, "checked": checked, "test": test, "new_rows": test}
    exec(block("mw.fit").replace('label="y"', 'label="y", epochs=3'), names)
    assert (tmp_path / "page.html").is_file()
    assert (tmp_path / "model.pt").is_file()
    assert names["result"].weights.shape == (100,)


def test_the_readme_names_what_there_is() -> None:
    text = README.read_text(encoding="utf-8")
    for name in (*mw.teachers.names(), *mw.engines.names()):
        assert f"`{name}`" in text
