"""A small table of two numbers and a colour, some of its labels wrong, as files of every kind."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = dict[str, str]
QUICK = (
    *(
        "--epochs",
        "3",
        "--warmup-epochs",
        "1",
        "--batch-size",
        "20",
        "--meta-batch-size",
        "20",
        "--threads",
        "1",
    ),
    *("--model-options", "width=16", "depth=1"),
)
COLOURS = ("red", "green", "blue")


def rows(count: int, seed: int, wrong: Sequence[int] = ()) -> list[Row]:
    """``kind`` is cat where x + y > 0, else dog; the other way round in the rows ``wrong`` (from 0)."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        x, y = draw.gauss(0, 1), draw.gauss(0, 1)
        kinds = ("cat", "dog") if x + y > 0 else ("dog", "cat")
        kind = kinds[number in wrong]
        made.append({"x": f"{x:.3f}", "y": f"{y:.3f}", "colour": draw.choice(COLOURS), "kind": kind})
    return made


def write(path: Path, table: Sequence[Mapping[str, str]]) -> Path:
    """A table as CSV, TSV, JSON Lines or Parquet, by the name's ending."""
    names = list(table[0])
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(dict(row)) + "\n" for row in table)
    elif path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(list(table)).to_parquet(path)
        return path
    else:
        between = "\t" if path.suffix == ".tsv" else ","
        text = "".join(
            between.join(row) + "\n" for row in (names, *([row[n] for n in names] for row in table))
        )
    path.write_text(text, encoding="utf-8")
    return path
