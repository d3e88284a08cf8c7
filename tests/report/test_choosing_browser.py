"""The page on which rows are checked, in headless Chromium: what is saved is what was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, look
from hostile_text import HOSTILE

from metaweight.core.csv_text import csv_text
from metaweight.data.origins import Origins
from metaweight.report.choosing import Sample, checking_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed to look at the page with")
NAMES = tuple(sorted({text for text in HOSTILE if text.strip() and len(text) < 1000}))
TICKED = "articles.forEach((one) => { box(one).checked = true; }); count();"
ANSWER = 'return [csv(), document.getElementById("progress").textContent, save.disabled];'


def asked(sample: Sample, folder: Path, **scripts: str) -> Any:
    probes = {name: (f"{script} {ANSWER}", 900) for name, script in scripts.items()}
    return look(checking_page(sample, "trusted.csv"), probes, folder)


def test_hostile_texts_and_classes_are_saved_as_they_are(tmp_path: Path) -> None:
    cells = tuple((text, NAMES[number % len(NAMES)]) for number, text in enumerate(NAMES))
    places = Origins.of('a "b", c', range(2, len(cells) + 2), unit="line")
    sample = Sample("d", ("text", "the,label"), cells, "the,label", "class", NAMES, places)
    choose = """
        const pick = (place, value) => {
            field(articles[place]).value = value;
            field(articles[place]).dispatchEvent(new Event("change"));
        };
        pick(0, ""); pick(2, "5"); box(articles[1]).checked = true; count();
    """
    found = asked(sample, tmp_path, none="", all=TICKED, some=choose)
    many = len(cells)
    assert found["none"] == [csv_text(sample.header, []), f"0 of {many} checked", True]
    assert found["all"] == [sample.csv(), f"{many} of {many} checked", False]
    kept = [sample.rows[1], (*sample.rows[2][:-1], NAMES[5])]
    progress = f"3 of {many} checked, 1 of them not sure and left out"
    assert found["some"] == [csv_text(sample.header, kept), progress, False]


@pytest.mark.slow
def test_numbers_several_labels_and_none(tmp_path: Path) -> None:
    type_in = f'field(articles[1]).value = "abc"; field(articles[2]).value = " 7.5 "; {TICKED}'
    numbers = Sample("d", ("x", "y"), (("1", "2.50"), ("2", "1e5"), ("3", "4")), "y", "number")
    add = f"field(articles[1]).options[0].selected = true; {TICKED}"
    several = Sample("d", ("x", "y"), (("1", "a;b"), ("2", "c")), "y", "several", ("a", "b", "c"))
    right = "box(articles[1]).checked = true; count();"
    pairs = Sample("d", ("source", "target"), (("1", "eins"), ("2", "zwei")))
    for name, sample, script, text in (
        ("numbers", numbers, type_in, "x,y\n1,2.50\n3,7.5\n"),
        ("several", several, add, "x,y\n1,a;b\n2,a;c\n"),
        ("pairs", pairs, right, "source,target\n2,zwei\n"),
    ):
        (tmp_path / name).mkdir()
        assert asked(sample, tmp_path / name, one=script)["one"][0] == text


@pytest.mark.slow
def test_many_classes_are_offered_when_a_row_is_come_to(tmp_path: Path) -> None:
    names = tuple(f"class {number}" for number in range(2000))
    sample = Sample("d", ("x", "y"), tuple((name, name) for name in names[:100]), "y", "class", names)
    come = """
        const chosen = field(articles[3]);
        const before = chosen.options.length;
        chosen.dispatchEvent(new Event("focus"));
        if (before !== 2 || chosen.options.length !== 2001) throw new Error("options");
        if (chosen.selectedOptions[0].textContent !== "class 3") throw new Error("given");
        chosen.value = "7"; box(articles[3]).checked = true; count();
    """
    assert asked(sample, tmp_path, one=come)["one"][0] == "x,y\nclass 3,class 7\n"


def test_keys_choose_tick_and_go_on(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    sample = Sample("d", ("x", "y"), tuple((str(n), "a") for n in range(6)), "y", "class", names)
    press = """
        const press = (...keys) => keys.forEach((key) => document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
        press("ArrowDown", "Enter", "3", "0", "9", "ArrowDown", "ArrowUp", "2");
    """
    assert asked(sample, tmp_path, one=press)["one"] == [
        "x,y\n0,a\n1,c\n3,b\n",
        "4 of 6 checked, 1 of them not sure and left out",
        False,
    ]
