"""The steps that make pages: figures, links, parts, names."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs_parts import HOME, figure
from run_page import blocks

TABLE = """
| engine | `ms` | **time** |
| --- | ---: | ---: |
| `ghost` | 3 | [1.5](x.md) |
| forward | 4 | 2 |

| set | arm | time | rank |
| --- | --- | ---: | ---: |
| a | auto | 7 | 1 |
| a | mlp | 8 | 2 |

|  | arm | points |
| --- | --- | ---: |
| 1 | jury | 9 |
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "table.md").write_text(TABLE)
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        ("speed | ghost | time", "1.5"),
        ("speed | forward | ms", "4"),
        ("speed | a, mlp | time", "8"),
        ("speed|a, auto|rank", "1"),
        ("speed | jury | points", "9"),
    ],
)
def test_a_figure_is_the_cell_that_is_named(results: Path, wanted: str, value: str) -> None:
    assert figure(wanted, results) == value


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("gone | ghost | time", "no kept table 'gone'"),
        ("speed | a | rank", "2 rows begin with 'a'"),
        ("speed | higher | time", "no row 'higher'"),
        ("speed | ghost | rank", "a column 'rank'"),
    ],
)
def test_a_figure_that_is_not_there_is_an_error(results: Path, wanted: str, said: str) -> None:
    with pytest.raises(KeyError, match=said):
        figure(wanted, results)


def test_blocks_of_a_page() -> None:
    page = "a\n```python\nx = 1\n\ny = 2\n```\n- b\n  ```sh no-run\n  ls\n  ```\n```{figure} a.png\n```\n"
    python, sh = blocks(page)
    assert (python.language, python.code, python.line, python.runs) == ("python", "x = 1\n\ny = 2\n", 3, True)
    assert (sh.code, sh.runs) == ("ls\n", False)


def test_links_of_a_shown_file_lead_to_pages() -> None:
    import evidence

    source, page = HOME / "benchmarks" / "speed" / "README.md", evidence.MADE / "evidence" / "speed.md"
    other = HOME / "benchmarks" / "results" / "models" / "table.md"
    shown = {source: page, other: evidence.MADE / "evidence" / "results" / "models.md"}
    text = "[a](../results/models#x) [the groups](groups.py) [c](#d) `[e](gone)`\n```\n[f](gone)\n```\n"
    turned = evidence.relinked(text.replace("`[e](gone)`", ""), source, shown)
    assert turned.startswith("[a](results/models.md#x) the groups (`benchmarks/speed/groups.py`) [c](#d)")
    assert "[f](gone)" in turned
    with pytest.raises(FileNotFoundError, match=r"'gone\.md' leads nowhere"):
        evidence.relinked("[g](gone.md)", source, shown)


def test_every_public_name_has_a_place_in_the_reference() -> None:
    import api

    assert not api.missing()


def test_the_readme_has_the_kept_table() -> None:
    import readme

    text = readme.README.read_text(encoding="utf-8")
    assert readme.drawn(text) == text
    assert readme.table() in text


def test_the_readme_is_short() -> None:
    lines = (HOME / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 110
