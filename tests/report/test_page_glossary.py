"""The words that the page explains: marked where they come first, and each of them in its list."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from grid_folders import make_grid
from tiny_rows import QUICK, rows, write

from metaweight.cli.main import main
from metaweight.report.page import read_study, render
from metaweight.report.page.glossary import FORMS, GLOSSARY, explained

MARKED = re.compile(r'<abbr tabindex="0" title="(.*?)">(.*?)</abbr>', re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a run on rows of which nobody knows which are wrong."""
    place = tmp_path_factory.mktemp("words")
    train = write(place / "train.csv", rows(150, 0, tuple(range(2, 150, 5))))
    parts = {"meta": (60, 1), "test": (40, 2)}
    files = [
        word
        for part, (count, seed) in parts.items()
        for word in (f"--{part}", str(write(place / f"{part}.csv", rows(count, seed))))
    ]
    own = ["train", "--task", "tabular", "--train", str(train), "--label", "kind", *files, *QUICK]
    assert main([*own, "--teacher", "mw-net", "--probes", "0.2", "--out", str(place / "run")]) == 0
    return render(read_study(place / "run"))


def pages(page: str, folder: Path) -> list[str]:
    make_grid(folder / "grid")
    return [
        page,
        render(read_study(folder / "grid")),
        render(read_study(folder / "grid/cells/uniform-0.4.mw-net.0")),
    ]


def test_every_word_that_a_page_marks_is_in_its_list(page: str, tmp_path: Path) -> None:
    for text in pages(page, tmp_path):
        marked = MARKED.findall(text)
        assert marked
        words = text.partition('<section id="words"')[2]
        for meaning, word in marked:
            (name,) = (name for name, said in GLOSSARY.items() if said == unescape(meaning))
            assert re.fullmatch(FORMS[name], word)
            assert f"<dt>{name}</dt><dd>{meaning}</dd>" in words


def test_a_word_is_marked_once_in_every_form_and_never_inside_of_another() -> None:
    first, second = explained(["Suspected of <b>: suspects, weights and probes.", "A weight; the AUROC."])
    assert [word for _, word in MARKED.findall(first)] == ["suspects", "weights", "probes"]
    assert [word for _, word in MARKED.findall(second)] == ["AUROC"]
    assert "&lt;b&gt;" in first
    assert MARKED.findall(explained(["heavyweight weight=3 re-probe --probes=1"])[0]) == []
    (plain,) = explained(["plain training of a student"])
    assert [word for _, word in MARKED.findall(plain)] == ["plain training", "student"]


def test_what_nobody_knows_is_never_0(page: str) -> None:
    """Without the truth no figure, chart or sentence counts wrong rows."""
    facts = dict(re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd>", page.partition('id="suspects"')[0]))
    assert facts["wrong labels among the training rows"] == "not known"
    assert not any("AUROC" in name for name in facts)
    for kind in ("clean", "flipped"):
        assert f'class="verdict {kind}"' not in page
        assert f'"kind {kind}"><i></i>{kind}<' not in page
    assert 'id="fates"' not in page
    assert "all samples" in page
    assert "Which training samples are bad is not known" in page
