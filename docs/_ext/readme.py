"""The README's table of evidence, drawn from a kept table: ``python docs/_ext/readme.py`` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

from kept import figure
from made import HOME

from metaweight.core.markdown import markdown_table

README = HOME / "README.md"
FOLDER = "default-held-out"
ARMS = {
    "auto": "`auto`, the default",
    "memory": "`memory`",
    "mw-net": "`mw-net`",
    "with-meta": "plain, trusted rows trained on too",
    "l2rw": "`l2rw`",
    "uniform": "plain training",
}
COLUMNS = {
    "rank, sets": "rank, of 9",
    "bad data": "on bad data",
    "right labels": "on right labels",
    "worst to plain": "worst to plain",
    "gap closed": "gap to right labels closed",
}
PLACE = re.compile(r"(<!-- drawn from [^>]*-->\n).*?(<!-- end -->)", re.S)


def table() -> str:
    """The arms by rank."""
    rows = [
        [said, *(figure(f"{FOLDER} | {arm} | {column}") for column in COLUMNS)] for arm, said in ARMS.items()
    ]
    return markdown_table(("arm", *COLUMNS.values()), rows).replace("\\`", "`")


def drawn(text: str) -> str:
    """The README with the table as it is to be."""
    return PLACE.sub(lambda found: f"{found[1]}{table()}\n{found[2]}", text)


if __name__ == "__main__":
    Path(README).write_text(drawn(README.read_text(encoding="utf-8")), encoding="utf-8")
