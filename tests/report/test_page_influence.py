"""What single samples did, on the page of a run: from the files of its folder alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from opened_runs import trained
from tiny_images import config
from tiny_rows import QUICK, rows, write

from metaweight.cli.main import main
from metaweight.influence import Certificate, Influence
from metaweight.influence.certificate import Gain, Score
from metaweight.report.page import read_study, render
from metaweight.report.page.deeds import MADE, MOST, deeds_of
from metaweight.report.page.glossary import GLOSSARY, OF_SAMPLES
from metaweight.training.run_folder import RunFolder

LOSS = 0.25
CERTIFICATE = Certificate(
    scores=(
        Score("influence", 0.625, 0.5, 0.75, (Gain(0.05, 0.01, 0.005, 0.015),)),
        Score("random", 0.0625, -0.25, 0.25, ()),
        Score("constant", None, None, None, ()),
    ),
    loss=LOSS,
    spread=0.1,
    noise=None,
    subsets=60,
    share=0.05,
    samples=60,
    targets=1,
    mode="eval",
    seed=0,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished one: nobody writes into it."""
    options = config(noise="uniform", epochs=1, teacher="uniform")
    return trained(tmp_path_factory.mktemp("page") / "run", options)


@pytest.fixture
def asked(run: Path, tmp_path: Path) -> Callable[..., Path]:
    def ask(values: dict[int, float], **more: str) -> Path:
        """A copy of the run with these influences by place, 0 elsewhere."""
        folder = Path(shutil.copytree(run, tmp_path / "run"))
        index = RunFolder.open(folder).read_weights().index
        whole = torch.zeros(int(index.max()) + 1, dtype=torch.float64)
        for place, value in values.items():
            whole[index[place]] = value
        found = Influence(whole, torch.tensor(LOSS, dtype=torch.float64), **more)
        found.save(folder / "influence.npz")
        return folder

    return ask


def section(page: str) -> str:
    return page.partition('<section id="deeds"')[2].partition("</section>")[0]


def test_cards_of_both_ends_in_their_order(asked: Callable[..., Path]) -> None:
    harm = {place: 0.5 + place for place in range(20)}
    help_ = {20: -3.0, 21: -4.0, 22: float("nan")}
    folder = asked(harm | help_, asked="trusted rows")
    found = deeds_of(read_study(folder).runs[0])
    assert found is not None
    samples = RunFolder.open(folder).read_weights()
    assert [card.influence for card in found.harmful] == [f"{19.5 - n:+.3g}" for n in range(MOST)]
    assert [card.index for card in found.harmful] == samples.index[:20].flip(0)[:MOST].tolist()
    assert [card.index for card in found.helpful] == samples.index[[21, 20]].tolist()
    assert {card.mean for card in found.harmful} == {"1.000"}
    assert all(card.exhibit.picture.startswith("data:image/png") for card in found.harmful)
    page = render(read_study(folder))
    text = section(page)
    assert text.count("<img") == MOST + 2
    assert text.count("<dt>influence</dt>") == MOST + 2
    assert text.count("<dt>weight</dt><dd>1.000</dd>") == MOST + 2
    said = re.sub(r"<.*?>", "", text)
    assert "the mean loss of the trusted rows at the end of this run (0.25)" in said
    assert "More weight of 20 of 59 rows does harm." in said
    assert 'id="certificate"' not in text
    assert page.index('id="deeds"') < page.index('id="curves"')
    assert all(f"<dt>{word}</dt>" in page for word in OF_SAMPLES)


def test_the_verdict_is_that_of_the_same_loss(asked: Callable[..., Path]) -> None:
    folder = asked({0: 1.0})
    CERTIFICATE.save(folder / "verify.json")
    found = deeds_of(read_study(folder).runs[0])
    assert found is not None
    first, _, gain, others = found.verdict
    assert first == MADE
    assert gain.startswith("Without the worst 5 % by influence the loss is 0.01 lower")
    assert others == "LDS of other scores, with 95 % intervals: random 0.06 (-0.25 to 0.25)."
    text = re.sub(r"<.*?>", "", section(render(read_study(folder))))
    assert "rank correlation 0.62 (95 % interval 0.50 to 0.75), 60 retrainings" in text
    assert "the loss that was asked about" in text

    replace(CERTIFICATE, loss=2 * LOSS).save(folder / "verify.json")
    other = deeds_of(read_study(folder).runs[0])
    assert other is not None
    assert other.verdict == ("The certificate beside it is of another loss (0.5).",)


def test_cells_of_a_table_stand_on_its_cards(tmp_path: Path) -> None:
    long = "a remark that nobody would want to read in a column of a few letters"
    table = [{**row, "remark": long if n == 4 else "short"} for n, row in enumerate(rows(40, 0))]
    trusted = [{**row, "remark": "short"} for row in rows(20, 1)]
    train, meta = write(tmp_path / "train.csv", table), write(tmp_path / "meta.csv", trusted)
    files = ("--train", str(train), "--label", "kind", "--meta", str(meta))
    folder = tmp_path / "run"
    arguments = ["train", "--task", "tabular", *QUICK, *files, "--teacher", "uniform", "--out", str(folder)]
    assert main(arguments) == 0
    values = torch.zeros(60, dtype=torch.float64)
    values[4], values[7] = 2.0, 1.0
    Influence(values, torch.tensor(LOSS)).save(folder / "influence.npz")
    found = deeds_of(read_study(folder).runs[0])
    assert found is not None
    assert not found.helpful
    for card, row in zip(found.harmful, (table[4], table[7]), strict=True):
        assert card.given == row["kind"]
        short = {name: cell for name, cell in row.items() if cell not in (long, row["kind"])}
        assert dict(card.cells) == short
    assert [card.exhibit.source for card in found.harmful] == [long, ""]
    assert f'<p class="sentence" dir="auto">{long}</p>' in section(render(read_study(folder)))


def test_without_influences_nothing_of_it_is_there(run: Path) -> None:
    page = render(read_study(run))
    assert "#deeds" not in page
    assert not section(page)
    assert "influence" not in page.partition('<section id="origin"')[0].lower()
    assert not any(GLOSSARY[word] in page for word in OF_SAMPLES)


def test_influences_of_other_samples_are_said(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    Influence(torch.zeros(3, dtype=torch.float64), torch.tensor(LOSS)).save(folder / "influence.npz")
    with pytest.raises(ValueError, match=r"influence.npz is of 3 samples, and weights.npz of others"):
        deeds_of(read_study(folder).runs[0])
    page = render(read_study(folder))
    assert 'id="deeds"' not in page
    assert "is of 3 samples" in page
