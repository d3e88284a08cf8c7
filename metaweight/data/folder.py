"""Finds and reads the files of a data set; a missing or broken one is named with what to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

VARIABLE = "METAWEIGHT_DATA"
ELSEWHERE = "or --import the module that registers it (benchmarks.data for those of the benchmarks)"
"""For the message about a name that no data set has."""


def data_folder(data_dir: str | Path | None) -> Path | None:
    """``data_dir``, or else the folder that METAWEIGHT_DATA names, or None.

    Raises ValueError where the folder named is not there.
    """
    path = data_dir or os.environ.get(VARIABLE)
    if not path:
        return None
    folder = Path(path).expanduser()
    if not folder.is_dir():
        origin = "data_dir" if data_dir else VARIABLE
        raise ValueError(f"{origin} names the data folder {str(folder)!r}, which is not there")
    return folder


def find_file(names: Sequence[str], folders: Sequence[Path], *, dataset: str, hint: str = "") -> Path:
    """The first of ``names`` in the first folder that has one.

    Raises ValueError that says which file, where it was looked for and how to name the folder.
    """
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    where = ", ".join(str(folder) for folder in folders) or "no folder, for none is named"
    raise ValueError(
        f"data set {dataset!r} needs the file {' or '.join(names)}; looked in {where}. "
        f"Name the folder with data_dir (--data-dir) or the environment variable {VARIABLE}{hint}"
    )
