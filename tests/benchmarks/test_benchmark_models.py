"""The table of other people's models: its cells by hand, the stand-in for torchvision, one tiny run."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import metaweight as mw
from benchmarks.models import answers, run
from benchmarks.models.answers import Answer, InDouble
from benchmarks.models.stand_in import NOTE, import_timm
from benchmarks.models.table import Found, rounds_csv, to_csv, to_markdown
from benchmarks.models.zoo import Model
from benchmarks.speed.measure import Timing
from metaweight.student.losses import cross_entropy


def found() -> Found:
    seconds = {"plain step": [0.1, 0.2, 0.3], "double, lookahead": [0.4, 0.4, 0.9]}
    timings = [Timing(r, name, 0, s) for name, values in seconds.items() for r, s in enumerate(values)]
    given = {
        "double": Answer("right", 2e-9),
        "ghost": Answer("refused", words="no rule for | 'x'"),
        "auto": Answer("wrong", 0.5, "double"),
        "higher": Answer("fails", words="KeyError: 'x'"),
    }
    return Found("m", "A", 7, 3e-8, given, timings, {"double, online": "no window"})


def test_cells_by_hand() -> None:
    text = to_markdown([found()], ["double", "ghost", "auto", "higher"], "Words.")
    line = text.splitlines()[2]
    cells = ["right 2e-09: 3.00 / refused [1]", "refused [2]", "wrong 5e-01 (double): - / -", "fails [3]"]
    assert line == f"| m (A) | 200.0 | {' | '.join(cells)} |"
    assert "differ by 3e-08 at most" in text
    assert text.rstrip().splitlines()[-3:] == [
        "1. double, online, float32: no window",
        "2. ghost: no rule for | 'x'",
        "3. higher: KeyError: 'x'",
    ]


def test_a_line_for_each_engine_and_one_for_each_timing() -> None:
    lines = to_csv([found()], ["double", "higher"]).splitlines()
    assert lines[1:] == ["m,double,right,2e-09,,3.0,", "m,higher,fails,,KeyError: 'x',,"]
    assert len(rounds_csv([found()]).splitlines()) == 1 + 6


def test_nothing_is_rounded_to_float32_in_double() -> None:
    exact = torch.tensor([1 / 3], dtype=torch.float64)
    with InDouble() as double:
        assert exact.softmax(0).dtype == torch.float64
        assert not double.asked_for_single
        assert torch.equal(exact.to(torch.float32), exact)
        assert torch.equal(exact.to(dtype=torch.float32), exact)
        assert torch.equal(exact.float(), exact)
    assert double.asked_for_single


class Rough(nn.Module):
    """Logits in which the labels' own slopes can be had by hand: linear, and a half computed in float32."""

    def __init__(self, single: bool) -> None:
        super().__init__()
        self.layer, self.single = nn.Linear(3, 2), single

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.layer(x)
        return logits.float().to(logits.dtype) if self.single else logits


@pytest.mark.parametrize("single", [False, True])
def test_answers_are_judged_by_real_steps(single: bool) -> None:
    def inputs(_size: object, units: int, g: torch.Generator) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return {"x": torch.randn(units, 3, generator=g)}, torch.arange(units) % 2

    model = Model("", lambda _: Rough(single), inputs, cross_entropy, lambda p: torch.optim.SGD(p, 0.5), "")
    problem = answers.problem_of(model, 0)
    assert problem.single is single
    assert problem.doubt <= answers.SURE
    right = answers.answer(problem, "double", 0)
    assert right.kind == "right"
    assert float(right.error or 1) <= (1e-6 if single else 1e-8)
    spoilt = replace(problem, slopes=1.01 * problem.slopes)
    assert answers.answer(spoilt, "double", 0).kind == "wrong"
    refused = answers.answer(replace(problem, optimizer=Odd(problem.module)), "double", 0)
    assert refused.kind == "refused"
    assert "Odd" in refused.words


class Odd(torch.optim.Optimizer):
    """That nobody knows."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module.parameters(), {"lr": 0.1})

    def step(self, closure: object = None) -> None:
        raise AssertionError("an engine takes no real step")


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_timm_imports_with_or_without_torchvision_and_leaves_no_stand_in() -> None:
    timm, torchvision = import_timm()
    assert timm.create_model("test_vit", num_classes=3)(torch.zeros(1, 3, 160, 160)).shape == (1, 3)
    assert torchvision == NOTE or torchvision[0].isdigit()
    assert torchvision != NOTE or "torchvision" not in sys.modules


@pytest.mark.slow
def test_one_tiny_run_and_its_resumption(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    out = tmp_path / "run"
    options = ["--engines", "double", "ghost", "--rounds", "2", "--out", str(out), "--threads"]
    assert run.main(["--models", "marian", *options, "1"]) == 0
    first = (out / "marian.json").read_bytes()
    assert json.loads(first)["answers"]["double"]["kind"] == "right"
    both = ["--models", "marian", "bert", *options]
    assert run.main([*both, "1"]) == 2
    assert run.main([*both, "2", "--resume"]) == 2
    assert run.main([*both, "1", "--resume"]) == 0
    assert (out / "marian.json").read_bytes() == first
    assert [line.split(",")[0] for line in (out / "table.csv").read_text().splitlines()[1:]] == [
        "bert",
        "bert",
        "marian",
        "marian",
    ]
    assert (out / "manifest-2.json").exists()
    assert json.loads((out / "manifest.json").read_text())["config"]["torchvision"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"models": ("brt",)}, "Did you mean 'bert'"),
        ({"engines": ("implicit",)}, "unknown engine 'implicit'"),
        ({"resume": True}, "name it with --out"),
        ({"rounds": 1}, "rounds 0 or >= 2"),
    ],
)
def test_mistakes_end_with_words(wrong: dict[str, object], words: str) -> None:
    with pytest.raises((KeyError, ValueError), match=words):
        run.Options(**wrong)


def test_every_engine_but_implicit_is_asked() -> None:
    assert set(run.ENGINES) == set(mw.engines.names()) - {"implicit"}
