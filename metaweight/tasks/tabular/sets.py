"""Tables by name: what scikit-learn brings along, each cut into training and test rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from metaweight.core.registry import Registry
from metaweight.data.rows import of_frame
from metaweight.data.rows.parts import Parts

tables: Registry[Callable[[], Parts]] = Registry("table", group="metaweight.tables")
TESTED = 0.25
"""Share of the rows that are test rows, the same ones in every run."""


def _of_sklearn(name: str, load: str) -> Parts:
    import sklearn.datasets

    found: Any = getattr(sklearn.datasets, load)(as_frame=True)
    frame = found.frame
    if hasattr(found, "target_names"):
        frame["target"] = [str(found.target_names[code]) for code in frame["target"]]
    order = np.random.default_rng(0).permutation(len(frame))
    cut = round(TESTED * len(frame))
    train, test = (of_frame(frame.iloc[np.sort(rows)], name) for rows in (order[cut:], order[:cut]))
    note = f"{len(train)} rows of scikit-learn's {name}, {len(test)} more to test on"
    return Parts(name, train, "target", test=test, clean=True, notes=(note,))


tables.add("breast-cancer", partial(_of_sklearn, "breast-cancer", "load_breast_cancer"))
tables.add("wine", partial(_of_sklearn, "wine", "load_wine"))
tables.add("diabetes", partial(_of_sklearn, "diabetes", "load_diabetes"))
