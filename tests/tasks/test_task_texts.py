"""Tasks of texts and tokens: their contract, their own sets, figures of tokens, and Hugging Face folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import f1_score
from slowly import slowly
from tiny_folders import folder_of
from tiny_texts import QUICK, sentences, texts, write_bio, write_texts
from torch import nn

import metaweight as mw
from metaweight.cli.main import main
from metaweight.core.contracts import StepReport
from metaweight.core.csv_text import read_csv
from metaweight.data.rows.loader import IGNORED
from metaweight.student.losses import TokenCrossEntropy
from metaweight.tasks import tasks
from metaweight.tasks.config import TextConfig, TokensConfig
from metaweight.tasks.text.measures import macro_f1
from metaweight.tasks.text.sets import labelled_texts
from metaweight.tasks.tokens.measures import measure
from metaweight.tasks.tokens.sets import labelled_tokens
from metaweight.tasks.tokens.weights import TokenWeights
from metaweight.testing import check_task

SMALL: dict[str, Any] = {"epochs": 1, "warmup_epochs": 0, "meta_size": 30, "valid_size": 30, "train_size": 60}


@pytest.mark.slow  # without noise they keep it in a default test of test_check_task
@pytest.mark.parametrize(
    "config",
    [
        TextConfig(**SMALL, noise="uniform", model_options={"width": 8}),
        TokensConfig(**SMALL, noise="uniform", unit="token", model_options={"width": 8}),
    ],
    ids=["text", "tokens"],
)
def test_a_task_keeps_its_contract(config: TextConfig | TokensConfig) -> None:
    check_task(config.task, config)


def test_sets_that_need_no_file_are_the_same_each_time() -> None:
    first, again = (labelled_texts["cldr-languages"]() for _ in range(2))
    assert first.train.frame.equals(again.train.frame)
    assert first.test is not None
    assert not set(first.train.frame["text"]) & set(first.test.frame["text"])
    dates = labelled_tokens["cldr-dates"]()
    frame = dates.train.frame
    assert all(len(a) == len(b) for a, b in zip(frame["tokens"], frame["labels"], strict=True))
    assert len({label for row in frame["labels"] for label in row}) == 7
    assert not [token for row in frame["tokens"] for token in row if not token.strip()]


class Says(nn.Module):
    """Logits that say label ids[b, t]."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(ids, 3) * self.scale


def test_figures_of_tokens_by_hand() -> None:
    said = torch.tensor([[0, 1, 1, 0], [2, 0, 0, 1]])
    truth = torch.tensor([[0, 1, 2, 1], [0, 0, IGNORED, IGNORED]])
    student = mw.Student(Says(), TokenCrossEntropy(IGNORED))
    batch = mw.Batch((said,), truth, torch.arange(2))
    figures = measure(("O", "A", "B"))(student, [batch])
    assert figures["accuracy"] == pytest.approx(100 * 3 / 6)  # 0, 1 and the last 0
    assert figures["f1"] == pytest.approx(100 * 2 * 1 / (3 + 3))  # one of three said, one of three there
    assert figures["loss"] == pytest.approx(20 * 3 / 6, rel=1e-6)
    assert measure(("A", "B", "C"))(student, [batch])["f1"] == pytest.approx(figures["accuracy"])


def test_macro_f1_is_that_of_scikit_learn() -> None:
    g = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 5, (60,), generator=g)
    said = torch.where(torch.rand(60, generator=g) < 0.6, truth, torch.randint(1, 7, (60,), generator=g))
    outputs = nn.functional.one_hot(said, 8).float()
    expected = f1_score(truth, said, average="macro", zero_division=0)
    assert macro_f1(outputs, truth) == pytest.approx(100 * expected, rel=1e-12)
    assert macro_f1(torch.full((60, 8), torch.nan), truth) == 0


def test_weights_of_tokens_are_means_after_the_warm_up() -> None:
    targets = torch.tensor([[1, 1, IGNORED], [0, IGNORED, IGNORED], [2, 0, 1]])
    kept = TokenWeights(targets, warmup=1)

    class Run:
        epoch = 0

    def step(index: list[int], weights: list[float]) -> None:
        values = torch.tensor(weights)
        report = StepReport(values, values, 0.0, None, {}, torch.tensor(index))
        kept.on_step(Run(), None, report)  # type: ignore[arg-type]

    step([2, 2, 2], [9.0, 9.0, 9.0])
    Run.epoch = 1
    step([2, 2, 2, 0, 0], [1.0, 2.0, 3.0, 4.0, 5.0])
    Run.epoch = 2
    step([0, 0, 2, 2, 2], [6.0, 7.0, 3.0, 2.0, 1.0])
    assert kept.of(2) == [2.0, 2.0, 2.0]
    assert kept.of(0) == [5.0, 6.0]
    assert kept.mean().isnan().tolist() == [False, False, True, False, False, False]
    again = TokenWeights(targets, warmup=1)
    again.load_state_dict(kept.state_dict())
    assert again.of(0) == [5.0, 6.0]


@pytest.mark.slow
def test_a_classifier_out_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = folder_of("SequenceClassification", tmp_path / "bert")
    files = []
    for part, first in (("train", 0), ("meta", 1000), ("test", 2000)):
        files += [f"--{part}", str(write_texts(tmp_path / f"{part}.csv", texts(40, first)))]
    options = ["--label", "kind", "--model", f"path:{model}", "--lr", "0.01"]
    options += ["--epochs", "8", "--batch-size", "7"]
    run = tmp_path / "run"
    assert main(["train", "--task", "text", *QUICK, *options, *files, "--out", str(run)]) == 0
    assert "pieces of the tokenizer in path:" in capsys.readouterr().out.replace("\n", " ")
    assert json.loads((run / "result.json").read_text())["figures"]["accuracy"] > 90
    assert len(read_csv(run / "rows.csv")) == 40


@pytest.mark.slow  # test_fit trains one too
@pytest.mark.parametrize("unit", ["token", *slowly("sentence")])
def test_a_tagger_out_of_a_folder(unit: str, tmp_path: Path) -> None:
    model = folder_of("TokenClassification", tmp_path / "bert")
    files = []
    for part, first in (("train", 0), ("meta", 1000), ("test", 2000)):
        files += [f"--{part}", str(write_bio(tmp_path / f"{part}.bio", sentences(30, first)))]
    options = ["--model", f"path:{model}", "--unit", unit, "--lr", "0.01"]
    options += ["--epochs", "8", "--batch-size", "7"]
    run = tmp_path / "run"
    assert main(["train", "--task", "tokens", *QUICK, *options, *files, "--out", str(run)]) == 0
    kept = read_csv(run / "tokens.csv")
    assert len(kept) == sum(map(len, sentences(30)))
    assert json.loads((run / "result.json").read_text())["figures"]["f1"] > 90


def test_padding_reaches_no_tap_of_a_folders_tagger(tmp_path: Path) -> None:
    folder_of("TokenClassification", tmp_path / "bert")
    from metaweight.data.text.tokenized import tokenized_sentences
    from metaweight.models.pretrained import STATES, load_tagger, load_tokenizer, pretrained_time_axes

    name = f"path:{tmp_path / 'bert'}"
    tokenizer = load_tokenizer(name)
    rows = tokenized_sentences(
        tokenizer, [["Ann1", "\u200b", "eats"], ["Bob", "eats", "fig1", "and", "fig22"]], 12
    )
    assert rows.places is not None
    assert rows.places.padded(torch.arange(2))[0].tolist() == [[1, 3, 4, -1, -1], [1, 2, 3, 5, 6]]
    student = mw.Student(
        load_tagger(name, 2, 0).double().eval(),
        TokenCrossEntropy(IGNORED, unit="token"),
        taps=STATES,
        time_axes=pretrained_time_axes,
    )
    targets = torch.tensor([[1, 0, 0, IGNORED, IGNORED], [1, 0, 0, 0, 0]])
    both = student(mw.Batch(rows.select(torch.arange(2)), targets, torch.arange(2)))
    alone = student(mw.Batch(rows.select(torch.tensor([0])), targets[:1, :3], torch.tensor([0])))
    torch.testing.assert_close(both.features["states"][:3], alone.features["states"], rtol=0, atol=1e-12)
    torch.testing.assert_close(both.loss[:3], alone.loss, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "is no folder; name one that save_pretrained wrote"),
        ("empty", "holds no config.json"),
        ("options", "takes no model_options"),
    ],
)
def test_folders_that_hold_no_model(change: str, message: str, tmp_path: Path) -> None:
    place = tmp_path / "bert"
    if change != "missing":
        place.mkdir()
    if change == "options":
        (place / "config.json").write_text("{}")
    config = TextConfig(model=f"path:{place}", model_options={"width": 3} if change == "options" else {})
    with pytest.raises(ValueError, match=message):
        tasks["text"].check(config)
