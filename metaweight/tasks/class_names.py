"""The names of a run's classes, as they lie in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence

from metaweight.core.atomic import whole_file
from metaweight.training.run_folder import RunFolder

CLASSES = "classes.json"
"""A list of names; the place of a name is the number of its class."""


def keep_classes(names: Sequence[str], folder: RunFolder) -> None:
    """Write ``classes.json``."""
    with whole_file(folder.path / CLASSES) as file:
        file.write(f"{json.dumps(list(names), indent=0, ensure_ascii=False)}\n".encode())
