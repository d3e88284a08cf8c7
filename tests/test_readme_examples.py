"""What the README shows works as it stands."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_rows import rows
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import metaweight as mw
from metaweight.testing import check_teacher

README = Path(__file__).parent.parent / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)


def block(mark: str) -> str:
    """The one example with ``mark`` in it."""
    (found,) = (code for code in blocks() if mark in code)
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
    """The names that the README's first example starts from."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(60, 6, generator=g), torch.randint(0, 3, (60,), generator=g))
    train, trusted = torch.utils.data.random_split(data, [40, 20], generator=g)
    make = {"batch_size": 10, "shuffle": True, "collate_fn": mw.data.collate}
    return {
        "module": Net(),
        "train_set": train,
        "train_loader": DataLoader(mw.data.Indexed(train), **make),
        "meta_loader": DataLoader(mw.data.Indexed(trusted), **make),
        "mw": mw,
        "torch": torch,
    }


def test_the_examples_are_as_short_as_the_readme_says() -> None:
    for code in blocks():
        assert len([line for line in code.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize("name", mw.teachers.names())
def test_every_teacher_runs_by_one_word_of_the_example(name: str) -> None:
    training = block("range(30)").replace("range(30)", "range(2)")
    assert training.count('"memory"') == 1
    names = scope()
    before = {k: v.clone() for k, v in names["module"].state_dict().items()}
    exec(training.replace('"memory"', f'"{name}"'), names)
    assert names["report"].weights.shape == (10,)
    assert (names["report"].meta_loss is not None) == names["reweighter"].needs_meta
    assert any(not torch.equal(v, before[k]) for k, v in names["module"].state_dict().items())


def test_a_loop_of_ones_own_trains() -> None:
    names = scope()
    exec(block("range(30)").replace("range(30)", "range(1)"), names)
    before = {k: v.clone() for k, v in names["module"].state_dict().items()}
    exec(block("reweighter.weigh(train, meta)"), names)
    assert names["weights"].shape == (10,)
    assert all(not torch.equal(v, before[k]) for k, v in names["module"].state_dict().items())
    assert names["reweighter"].steps == 8  # four batches each


def test_the_teacher_of_the_readme_keeps_its_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {"mw": mw, "torch": torch}
    with ExitStack() as registered:

        def register(name: str) -> object:
            return lambda cls: registered.enter_context(mw.teachers.registry.temporarily(name, cls))

        monkeypatch.setattr(mw, "register_teacher", register)
        exec(block("register_teacher"), names)
        check_teacher("margin", sentences=False)


def test_the_estimator_of_the_readme_fits() -> None:
    g = torch.Generator().manual_seed(0)
    inputs, trusted = (torch.randn(n, 4, generator=g).numpy() for n in (80, 20))
    labels = {"y": inputs[:, 0] > 0, "y_trusted": trusted[:, 0] > 0}
    names: dict[str, object] = {"mw": mw, "X": inputs, "X_trusted": trusted, **labels}
    exec(block("ReweightedClassifier").replace("Classifier()", "Classifier(epochs=3)"), names)
    assert names["weights"].shape == (80,)
    assert len(names["worst"]) == 80


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
