"""The names of a run's classes, as they lie in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain

from metaweight.core.atomic import whole_file
from metaweight.core.csv_text import csv_rows, read_text, write_csv
from metaweight.training.run_folder import RunFolder

CLASSES = "classes.json"
"""A list of names; the place of a name is the number of its class."""
WEIGHTS, GIVEN = "weights.csv", "given_label"


def keep_classes(names: Sequence[str], folder: RunFolder) -> None:
    """Write ``classes.json``."""
    with whole_file(folder.path / CLASSES) as file:
        file.write(f"{json.dumps(list(names), indent=0, ensure_ascii=False)}\n".encode())


def name_labels(names: Sequence[str], folder: RunFolder) -> None:
    """Write the names of the classes into ``weights.csv`` in the place of their numbers."""
    path = folder.path / WEIGHTS
    rows = csv_rows(read_text(path), str(path))
    first = next(rows)
    named = ({**row, GIVEN: names[int(row[GIVEN])]}.values() for row in chain((first,), rows))
    write_csv(path, tuple(first), map(tuple, named))
