"""The table of suspects in headless Chromium: search, pages of rows, and its narrow form."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, look
from grid_folders import BASE, save_samples, write_result

from metaweight.comparison.cells import alone
from metaweight.report.page import read_study, render
from metaweight.training.run_folder import RunFolder

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed to look at the page with")
COLUMNS = ["row", "given_label", "mean_weight", "note"]
ROWS = [
    [int(at < 30), str(at + 2), ("cat", "dog")[at % 2], f"{at / 60:.3f}", "Ünder <b>" if at % 10 == 7 else ""]
    for at in range(60)
]
LONG = [[1, "2", "cat", "0.1", "word " * 30], [1, "3", "x" * 160, "0.2", ""]]
TOOLS = """
    const finder = document.getElementById("finder");
    const type = (text) => {
        finder.querySelector("#find").value = text;
        finder.querySelector("#find").dispatchEvent(new Event("input"));
    };
    const tick = () => finder.querySelector("#only").click();
    const step = (way) => finder.querySelector(`[data-step="${way}"]`).click();
    const seen = () => ({
        status: finder.querySelector("[role=status]").textContent,
        rows: [...finder.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent),
        bad: finder.querySelectorAll("tbody tr.suspect").length,
        back: !finder.querySelector('[data-step="-1"]').disabled,
        next: !finder.querySelector('[data-step="1"]').disabled,
        only: finder.querySelector("#only").checked,
    });
"""
TURNED = f"{TOOLS} const all = [seen()]; step(1); all.push(seen()); step(-1); all.push(seen()); return all;"
SEARCHED = f"""
    {TOOLS}
    const all = {{}};
    step(1); tick(); all.anew = seen(); tick();
    type("DOG"); all.dogs = seen();
    tick(); all.every = seen();
    type(" ünder <B> "); all.marked = seen();
    type("nowhere"); all.none = seen();
    type(""); step(1); step(1); all.last = seen();
    return all;
"""
FORM = """
    const table = document.querySelector("table.rows");
    const cells = [...table.querySelectorAll("tbody td")];
    const shown = (one) => one.checkVisibility();
    const name = (one) => getComputedStyle(one, "::before").content;
    const box = table.parentElement;
    return {heads: [...table.querySelectorAll("thead th")].map((one) => one.textContent),
            head: shown(table.tHead), shown: cells.map(shown), empty: cells.map((one) => !one.textContent),
            names: cells.slice(0, 4).map(name), html: table.querySelectorAll("b").length,
            wide: [box.scrollWidth, box.clientWidth], page: document.documentElement.scrollWidth,
            out: cells.filter(shown).filter((one) => one.getBoundingClientRect().right > innerWidth).length};
"""
COLOURS = """
    const all = (selector, style) =>
        [...document.querySelectorAll(selector)].map((one) => getComputedStyle(one)[style]);
    const key = all(".bars .key i", "backgroundColor"), fills = all(".bars svg path", "fill");
    return {key, missing: key.filter((colour) => !fills.includes(colour)).length};
"""


def page_of(folder: Path) -> str:
    cell = alone(replace(BASE, teacher="mw-net"), "run")
    own = RunFolder.create(folder / "run", {"task": "image", "config": asdict(cell.config)})
    write_result(cell, own.path, accuracy=80)
    save_samples(own, 60, epochs=3)
    return render(read_study(own.path))


def with_rows(page: str, rows: list[list[Any]]) -> str:
    """The page with other rows to find."""
    data = json.dumps({"columns": COLUMNS, "rows": rows, "pictures": []}).replace("<", "\\u003c")
    begin, end = '<script type="application/json" id="rows">', "</script>"
    made, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}{data}{end}", page, flags=re.DOTALL)
    assert count == 1
    return made


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def found(page: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    probes = {"turned": (TURNED, 1280), "searched": (SEARCHED, 1280), "colours": (COLOURS, 1280)}
    return look(with_rows(page, ROWS), probes, tmp_path_factory.mktemp("finder"))


def rows(*places: int) -> list[str]:
    return [str(place + 2) for place in places]


def test_suspects_stand_in_pages_of_25(found: Any) -> None:
    first, second, again = found["turned"]
    assert first == {
        **{"status": "1 to 25 of 30", "rows": rows(*range(25)), "bad": 25},
        **{"back": False, "next": True, "only": True},
    }
    assert (second["status"], second["rows"]) == ("26 to 30 of 30", rows(*range(25, 30)))
    assert (second["back"], second["next"]) == (True, False)
    assert again == first


def test_search_finds_any_text_in_any_case_and_begins_at_the_first_page(found: Any) -> None:
    searched = found["searched"]
    assert searched["anew"]["status"] == "1 to 25 of 60"
    assert searched["dogs"]["status"] == "1 to 15 of 15"
    assert searched["dogs"]["rows"] == rows(*range(1, 30, 2))
    assert searched["every"]["status"] == "1 to 25 of 30"
    assert searched["marked"]["rows"] == rows(*range(7, 60, 10))
    assert searched["marked"]["bad"] == 3
    assert searched["none"] == {
        **{"status": "no such row", "rows": [], "bad": 0},
        **{"back": False, "next": False, "only": False},
    }
    assert (searched["last"]["status"], searched["last"]["next"]) == ("51 to 60 of 60", False)


def test_without_suspects_all_rows_are_shown(page: str, tmp_path: Path) -> None:
    none = [[0, *cells] for _, *cells in ROWS]
    (first, *_) = look(with_rows(page, none), {"turned": (TURNED, 1280)}, tmp_path)["turned"]
    assert (first["status"], first["only"], first["bad"]) == ("1 to 25 of 60", False, 0)


def test_on_a_phone_a_row_is_a_card_with_its_names_and_nothing_is_cut_off(page: str, tmp_path: Path) -> None:
    probes = {"narrow": (FORM, 390), "wide": (FORM, 1280)}
    forms = look(with_rows(page, LONG), probes, tmp_path)
    narrow, wide = forms["narrow"], forms["wide"]
    assert narrow["heads"] == wide["heads"] == ["row", "given label", "mean weight", "note"]
    assert (narrow["head"], wide["head"]) == (False, True)
    assert narrow["names"] == ['"row "', '"given label "', '"mean weight "', '"note "']
    assert wide["names"] == ["none"] * 4
    assert narrow["shown"] == [not empty for empty in narrow["empty"]]
    assert all(wide["shown"])
    for form in (narrow, wide):
        assert form["wide"][0] <= form["wide"][1]
    assert narrow["out"] == 0
    assert narrow["page"] <= 390


def test_suspects_and_others_have_two_colours_the_key_has_them_too(found: Any) -> None:
    key = found["colours"]["key"]
    assert len(set(key)) == 2
    assert found["colours"]["missing"] == 0
