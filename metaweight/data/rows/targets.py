"""The targets of labelled rows: classes, numbers or several yes-or-no labels, as tensors, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data.origins import Origins

RowKind = Literal["classes", "one-logit", "number", "several"]
"""A class; one of two classes, by one logit; a number; some of several labels."""
TargetKind = RowKind | Literal["tokens"]
"""Or a class of each token."""
KINDS: tuple[str, ...] = get_args(RowKind)
FEW = 20
"""Whole numbers of at most so many values are names of classes."""
BETWEEN = ";"
"""Several labels of one cell are written ``red;round``."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What the training rows show of their targets, and the way from cells to tensors."""

    kind: TargetKind
    classes: tuple[str, ...] = ()
    """In order; () for numbers."""
    center: float = 0.0
    scale: float = 1.0
    """Numbers are learnt as (number - center) / scale: mean and deviation of the training rows."""
    note: str = ""
    """What the column was taken for, in words."""

    @property
    def outputs(self) -> int:
        """Outputs that a student of them has."""
        return 1 if self.kind in ("number", "one-logit") else len(self.classes)

    def encode(self, cells: Sequence[Any], origins: Origins, part: str) -> Tensor:
        """int64 [n] of classes, float32 [n] of one logit and numbers, float32 [n, L] of several labels.

        Raises ValueError, with the place, for a cell that is empty, no number, or a class that the training
        rows lack.
        """
        texts = list(of_distinct(label_text, cells))
        if self.kind != "several":
            for place, text in enumerate(texts):
                if text == "":
                    raise ValueError(
                        f"{origins[place]}: this {part} row has no label: fill it in or take it out"
                    )
        if self.kind == "number":
            values = [
                _number(cell, text, origins, place)
                for place, (cell, text) in enumerate(zip(cells, texts, strict=True))
            ]
            return ((torch.tensor(values, dtype=torch.float64) - self.center) / self.scale).float()
        codes = {name: code for code, name in enumerate(self.classes)}
        if self.kind == "several":
            return self._several(cells, codes, origins, part)
        for place, text in enumerate(texts):
            if text not in codes:
                raise _strange(text, self.classes, origins, place, part)
        found = torch.tensor([codes[text] for text in texts], dtype=torch.int64)
        return found.float() if self.kind == "one-logit" else found

    def _several(self, cells: Sequence[Any], codes: dict[str, int], origins: Origins, part: str) -> Tensor:
        found = torch.zeros(len(cells), len(self.classes))
        for place, cell in enumerate(cells):
            for name in labels_of(cell):
                if name not in codes:
                    raise _strange(name, self.classes, origins, place, part)
                found[place, codes[name]] = 1
        return found

    def numbers(self, values: Tensor) -> Tensor:
        """Learnt numbers [n] as the user wrote them, float64."""
        return values.double() * self.scale + self.center

    def shown(self, values: Tensor) -> list[str]:
        """Each of ``values``, as ``encode`` gives them, in the user's words."""
        if self.kind == "number":
            return [f"{value:.6g}" for value in self.numbers(values).tolist()]
        if self.kind == "several":
            return [
                BETWEEN.join(name for name, has in zip(self.classes, row, strict=True) if has > 0.5)
                for row in values.tolist()
            ]
        return [self.classes[int(code)] for code in values.tolist()]


def read_targets(cells: Sequence[Any], name: str, origins: Origins, *, kind: str | None = None) -> Targets:
    """What the training rows' ``cells`` [n], none of them empty, are: by ``kind``, or else as they look.

    Lists and ``a;b`` of which some have several are several labels; numbers that are not whole, or whole ones
    of more than ``FEW`` values, are numbers; everything else is the name of a class.  Raises ValueError for
    an unknown kind, for one class and for labels of which no two rows share one.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown target {kind!r}.{did_you_mean(kind, KINDS)} There are {', '.join(KINDS)}")
    chosen, why = (kind, "as asked for") if kind is not None else _guess(cells)
    file = origins.files[0]
    if chosen == "number":
        values = [_number(cell, label_text(cell), origins, place) for place, cell in enumerate(cells)]
        array = np.array(values)
        spread = float(array.std())
        if spread == 0:
            raise ValueError(f"every {name!r} is {values[0]:g}: there is nothing to learn")
        note = f"{name!r} holds numbers ({why}), {array.min():g} to {array.max():g}"
        return Targets("number", (), float(array.mean()), spread, note)
    if chosen == "several":
        names = tuple(sorted({label for cell in cells for label in labels_of(cell)}))
        if not names:
            raise ValueError(f"{file}: no row has a label in {name!r}")
        return Targets(
            "several", names, note=f"{name!r} holds several labels a row ({why}): {_listed(names)}"
        )
    names = _ordered({label_text(cell) for cell in cells})
    if len(names) < 2:
        raise ValueError(
            f"{file}: every row has the label {names[0]!r} in {name!r}: a classifier needs 2 classes or more"
        )
    if len(names) == len(cells) and len(cells) > 2:
        raise ValueError(
            f"{file}: no two rows share a label in {name!r}: is it the column of labels (--label)? Where it "
            "holds numbers, say --target number"
        )
    if chosen == "one-logit" and len(names) != 2:
        raise ValueError(
            f"{file}: one logit tells 2 classes apart, and {name!r} has {len(names)}: {_listed(names)}"
        )
    note = f"{name!r} has {len(names)} classes ({why}): {_listed(names)}"
    return Targets("one-logit" if chosen == "one-logit" else "classes", names, note=note)


def of_distinct(read: Callable[[Any], Any], cells: Any) -> np.ndarray[Any, Any]:
    """``read(cell)`` of each of the cells [n], called once for each that is different."""
    import pandas as pd

    series = pd.Series(cells) if not isinstance(cells, pd.Series) else cells
    try:
        # 1, 1.0 and True are equal and not one cell: only of one type are equal cells alike
        if series.dtype == object and len(set(map(type, series))) > 1:
            raise TypeError
        codes, uniques = pd.factorize(series, use_na_sentinel=False)
    except TypeError:  # lists, and cells of several types
        return np.array([*map(read, cells), None], dtype=object)[:-1]
    values: np.ndarray[Any, Any] = np.array([*map(read, uniques), None], dtype=object)[codes]
    return values


def is_empty_cell(cell: Any) -> bool:
    """Whether a cell has no label."""
    return label_text(cell) == "" and not isinstance(cell, list | tuple | np.ndarray)


def labels_of(cell: Any) -> list[str]:
    """The labels of one cell: of a list its items, of text what stands between ``;``."""
    if isinstance(cell, list | tuple | np.ndarray):
        return [label_text(item) for item in cell]
    return [part for part in (part.strip() for part in label_text(cell).split(BETWEEN)) if part]


def _guess(cells: Sequence[Any]) -> tuple[str, str]:
    if any(isinstance(cell, list | tuple | np.ndarray) for cell in cells):
        return "several", "lists"
    texts = {label_text(cell) for cell in cells}
    values = [_float(text) for text in texts]
    if all(value is not None for value in values):
        if any(not float(value).is_integer() for value in values if value is not None):
            return "number", "they are not whole; --target classes if they are names"
        if len(texts) > FEW:
            return "number", f"{len(texts)} different ones; --target classes if they are names"
        return "classes", f"{len(texts)} whole numbers; --target number if they are amounts"
    if sum(BETWEEN in text for text in texts) > len(texts) / 2:
        return "several", f"most have {BETWEEN!r} in them; --target classes if that is one name"
    return "classes", "text"


def _ordered(names: set[str]) -> tuple[str, ...]:
    """By number where all are numbers, else by letters."""
    values = {name: _float(name) for name in names}
    if all(value is not None for value in values.values()):
        return tuple(sorted(names, key=lambda name: (values[name], name)))
    return tuple(sorted(names))


def label_text(cell: Any) -> str:
    """A label as text: 1, 1.0 and "1" are one label; None and NaN are none."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, float | np.floating):
        return "" if math.isnan(cell) else str(int(cell)) if float(cell).is_integer() else repr(float(cell))
    if cell is None or isinstance(cell, list | tuple | np.ndarray | dict) or str(cell) in ("<NA>", "NaT"):
        return ""
    return str(cell).strip()


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _number(cell: Any, text: str, origins: Origins, place: int) -> float:
    value = _float(text)
    if value is None:
        raise ValueError(
            f"{origins[place]}: the target is {cell!r}, and no number; mend it, or say --target classes"
        )
    return value


def _strange(name: str, classes: Sequence[str], origins: Origins, place: int, part: str) -> ValueError:
    return ValueError(
        f"{origins[place]}: this {part} row has the label {name!r}, which no training row has."
        f"{did_you_mean(name, classes)} They have {_listed(classes)}"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(map(repr, names[:10])) + more
