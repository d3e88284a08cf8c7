"""Models of Hugging Face by size: what they are, and a tiny run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.models import sizes
from benchmarks.models.sized import MODELS, PADDING, Size, Sized
from benchmarks.speed.students import subject

pytest.importorskip("transformers")
SMALL = Size(length=9, vocabulary=50, width=16)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_found_by_its_name_and_trained_by_the_usual_loss(name: str) -> None:
    model = Sized(name, SMALL)
    assert subject(model.name) == model
    torch.manual_seed(0)
    module = model.module().eval()
    batch = model.random_batch(3, 7, torch.Generator().manual_seed(1))
    assert batch.index.tolist() == [7, 8, 9]
    student = model.student(module)
    ours = student.glance(batch, plain=False)
    # every sentence has as many words, so the mean over sentences is that over words
    assert torch.allclose(ours.losses.mean(), model.loss(module, batch), rtol=1e-5)
    if name == "vit":
        assert batch.kwargs["pixel_values"].shape == (3, 3, 12, 12)
    else:
        assert batch.kwargs["input_ids"].shape == (3, 9)
        assert int(batch.kwargs["input_ids"].min()) > PADDING


def test_what_does_not_do_is_refused() -> None:
    with pytest.raises(KeyError, match="unknown model 'bart'"):
        subject("hf:bart:length=9")
    with pytest.raises(ValueError, match="patches make a square, got 8"):
        Sized("vit", replace(SMALL, length=8)).module()
    with pytest.raises(ValueError, match="--rounds is at least 2"):
        sizes.Options(rounds=1)
    with pytest.raises(KeyError, match="unknown model 'gpt2'"):
        sizes.Options(models=("gpt2",))


def test_one_thing_grows_at_a_time() -> None:
    every = list(sizes.settings(sizes.Options(models=("bert", "vit"))))
    described = [(model.model, batch, model.size.length, model.size.vocabulary) for model, batch in every]
    assert described == [
        ("bert", 16, 32, 4000),
        ("bert", 16, 128, 4000),
        ("bert", 16, 32, 32000),
        ("bert", 64, 32, 4000),
        ("vit", 16, 36, 4000),
        ("vit", 16, 144, 4000),
        ("vit", 64, 36, 4000),
    ]


def test_the_command_writes_its_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sizes, "settings", lambda _: [(Sized("gpt-2", SMALL), 2)])
    memory = {None: 10**6, "online": 3 * 10**6, "lookahead": 4 * 10**6}
    monkeypatch.setattr(
        sizes, "memory_in_fresh_process", lambda v, _: memory[v.schedule if v.engine else None]
    )
    assert sizes.main(["--rounds", "2", "--out", str(tmp_path / "run")]) == 0
    (row,) = [line for line in (tmp_path / "run" / "table.md").read_text().splitlines() if "| gpt-2" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["gpt-2", "2 x 9, 50"]
    assert float(cells[3].split()[0]) > 1
    assert float(cells[4].split()[0]) > 1
    assert cells[5:] == ["1", "3.00", "4.00"]
