"""Why a student says what it says of single rows, on the page of a run: from its folder alone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from opened_runs import trained
from tiny_images import config

from metaweight.influence import Influence
from metaweight.influence.questions import FORMAT, Question, Questions
from metaweight.report.page import read_study, render
from metaweight.report.page.answers import EACH, answers_of
from metaweight.report.page.exhibits import picture_uri
from metaweight.tasks import tasks
from metaweight.training.run_folder import RunFolder

OWN = config(noise="uniform", epochs=1, teacher="uniform")
ASKED = [
    Question(row=3, index=3, loss=2.5, given=4, said=7, sure=0.625),
    Question(row=9, index=9, loss=0.125, given=1, said=1, sure=0.75),
    Question(row=0, index=0, loss=0.5, given=None, said=None, sure=None),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished one: nobody writes into it."""
    return trained(tmp_path_factory.mktemp("answers") / "run", OWN)


def asked(run: Path, folder: Path, *, of: str = "test rows", questions: list[Question] = ASKED) -> Path:
    """A copy of the run that was asked: sample n of it raises the loss of question q by n - 5 q."""
    folder = Path(shutil.copytree(run, folder / "run"))
    index = RunFolder.open(folder).read_weights().index
    values = torch.full((len(ASKED), int(index.max()) + 1), torch.nan, dtype=torch.float64)
    for number in range(len(ASKED)):
        values[number, index] = torch.arange(len(index)).double() - 5.0 * number
    Influence(values, torch.ones(len(ASKED))).save(folder / "questions.npz")
    Questions(format=FORMAT, of=of, asked=questions).write(folder)
    return folder


def test_each_row_has_a_sentence_a_picture_and_the_samples_of_both_ends(run: Path, tmp_path: Path) -> None:
    folder = asked(run, tmp_path)
    found = answers_of(read_study(folder).runs[0])
    assert [one.title for one in found] == ["Test row 3", "Test row 9", "Test row 0"]
    assert [one.said for one in found] == [
        "The student says 7 (62%), its label is 4; its loss at the end of the run is 2.5.",
        "The student says 1 (75%), which is its label; its loss at the end of the run is 0.125.",
        "Its loss at the end of the run is 0.5.",
    ]
    images = tasks["image"].prepare(OWN).images
    assert [one.picture for one in found] == [picture_uri(images.test_images[q.index]) for q in ASKED]
    index = RunFolder.open(folder).read_weights().index
    for number, one in enumerate(found):
        most = index.flip(0)[:EACH]
        assert [card.index for card in one.harmful] == most.tolist()
        worth = [len(index) - 1 - n - 5 * number for n in range(EACH)]
        assert [card.influence for card in one.harmful] == [f"{value:+.3g}" for value in worth]
        assert [card.index for card in one.helpful] == index[:EACH].tolist()[: 5 * number]
    page = render(read_study(folder))
    text = page.partition('<section id="answers"')[2].partition("</section>")[0]
    assert text.count("<img") == 3 + 3 * EACH + 2 * EACH
    assert "Test row 9" in re.sub(r"<.*?>", "", text)
    assert 'href="#answers"' in page
    assert "<dt>influence</dt>" in page


def test_rows_that_were_trained_on_are_those_of_the_training_set(run: Path, tmp_path: Path) -> None:
    found = answers_of(read_study(asked(run, tmp_path, of="validation rows")).runs[0])
    images = tasks["image"].prepare(OWN).images
    assert found[0].title == "Validation row 3"
    assert found[0].picture == picture_uri(images.train_images[3])
    assert found[0].picture != picture_uri(images.test_images[3])


def test_a_row_that_is_not_there_any_more_has_no_picture(run: Path, tmp_path: Path) -> None:
    gone = [msgspec.structs.replace(ASKED[0], index=10**6), *ASKED[1:]]
    found = answers_of(read_study(asked(run, tmp_path, questions=gone)).runs[0])
    assert [one.picture for one in found] == ["", "", ""]


def test_files_of_different_questions_are_a_trouble_that_is_said(run: Path, tmp_path: Path) -> None:
    folder = asked(run, tmp_path, questions=ASKED[:2])
    with pytest.raises(ValueError, match=r"questions.npz and questions.json are of different questions"):
        answers_of(read_study(folder).runs[0])
    page = render(read_study(folder))
    assert 'id="answers"' not in page
    assert "are of different questions" in page


def test_without_questions_there_is_no_section(run: Path) -> None:
    assert answers_of(read_study(run).runs[0]) == []
    assert 'id="answers"' not in render(read_study(run))


def test_a_row_of_columns_and_sentences_is_written_out(run: Path, tmp_path: Path) -> None:
    long = "a sentence of more than forty characters, " * 2
    looks = [
        {"age": "41", "town": "Köln & Bonn", "notes": ""},
        {"text": long, "n": "3", "m": "4"},
        {"text": "short"},
    ]
    questions = [msgspec.structs.replace(q, cells=cells) for q, cells in zip(ASKED, looks, strict=True)]
    study = read_study(asked(run, tmp_path, questions=questions))
    found = answers_of(study.runs[0])
    assert [one.sentences for one in found] == [(), (long,), ("short",)]
    assert [one.cells for one in found] == [
        (("age", "41"), ("town", "Köln & Bonn")),
        (("n", "3"), ("m", "4")),
        (),
    ]
    text = render(study).partition('<section id="answers"')[2].partition("</section>")[0]
    assert "<dt>town</dt><dd>Köln &amp; Bonn</dd>" in text
    assert text.count('<dl class="row">') == 2
    assert '<p class="sentence" dir="auto">short</p>' in text
