"""Texts of two kinds and sentences of labelled tokens, with known wrong rows, for runs of a moment."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Sequence
from pathlib import Path

KINDS = {"fruit": ("apple", "pear", "plum", "fig"), "tool": ("saw", "hammer", "drill", "file")}
NAMES = ("Ann", "Bob", "Zoë", "Eve")
QUICK = ("--epochs", "3", "--warmup-epochs", "1", "--batch-size", "20", "--meta-batch-size", "16")
Tagged = list[tuple[str, str]]


def texts(count: int, first: int = 0, wrong: Collection[int] = ()) -> list[dict[str, str]]:
    """Rows of a text and its kind, all different; those at ``wrong`` have the other kind."""
    rows = []
    for number in range(first, first + count):
        kind = list(KINDS)[number % 2]
        words = [KINDS[kind][number // 2**place % 4] for place in (1, 2, 3)]
        given = list(KINDS)[1 - number % 2] if number - first in wrong else kind
        rows.append({"text": f"{' and '.join(words)}, number {number}", "kind": given})
    return rows


def write_texts(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """As CSV or JSON Lines, as the name says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def sentences(count: int, first: int = 0, wrong: Collection[int] = ()) -> list[Tagged]:
    """Sentences of 3 to 6 tokens with a name; in those at ``wrong`` a word is said to be the name."""
    rows = []
    for number in range(first, first + count):
        name, fruit = NAMES[number % 4], KINDS["fruit"][number // 4 % 4]
        tagged: Tagged = [(name, "B-PER"), ("eats", "O"), (f"{fruit}{number}", "O"), (".", "O")]
        tagged += [("often", "O")] * (number % 3)
        if number - first in wrong:
            tagged[0], tagged[1] = (name, "O"), ("eats", "B-PER")
        rows.append(tagged)
    return rows


def write_bio(path: Path, rows: Sequence[Tagged]) -> Path:
    """A token and its label a line, an empty line after each sentence."""
    lines = ["".join(f"{token}\t{label}\n" for token, label in row) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path
