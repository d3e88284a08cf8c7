"""What the README shows works as it stands."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
import torch
from hugging_face_models import arguments, bert, text
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
    training = block("build_teacher").replace("range(30)", "range(2)")
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


def test_a_trainer_of_hugging_faces_finds_suspects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    monkeypatch.chdir(tmp_path)
    args = arguments(transformers, tmp_path / "out", num_train_epochs=1)
    names = {"mw": mw, "args": args, "model": bert(transformers)}
    exec(block("mw.huggingface"), {**names, "rows": text(8, 1, "class"), "checked": text(4, 2, "class")})
    for page in ("page.html", "out/report.html", "out/weights.csv"):
        assert (tmp_path / page).is_file()
    assert len(block("mw.huggingface").splitlines()) <= 5


@pytest.mark.filterwarnings("ignore")
def test_a_lightning_module_finds_suspects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    names = {**scope(), "lightning": lightning}
    exec(
        block("mw.lightning").replace("max_epochs=5", "max_epochs=1, logger=False, accelerator='cpu'"), names
    )
    assert len(names["worst"]) == 40
    assert names["page"].is_file()


def test_every_example_is_run_here() -> None:
    marks = ("mw.fit", "build_teacher", "mw.Loop", "register_teacher", "Reweighted", "mw.hugg", "mw.light")
    assert sorted(map(block, marks)) == sorted(blocks())


def test_the_teacher_of_the_readme_keeps_its_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {"mw": mw, "torch": torch}
    with ExitStack() as registered:

        def register(name: str) -> object:
            return lambda cls: registered.enter_context(mw.teachers.registry.temporarily(name, cls))

        monkeypatch.setattr(mw, "register_teacher", register)
        exec(block("register_teacher"), names)
        check_teacher("margin", sentences=False)


@pytest.mark.parametrize("frames", [False, True])
def test_the_estimator_of_the_readme_fits(frames: bool) -> None:
    g = torch.Generator().manual_seed(0)
    inputs, trusted = (torch.randn(n, 4, generator=g).numpy() for n in (80, 20))
    labels = {"y": inputs[:, 0] > 0, "y_trusted": trusted[:, 0] > 0}
    if frames:
        inputs, trusted = (pd.DataFrame(values, columns=list("abcd")) for values in (inputs, trusted))
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
