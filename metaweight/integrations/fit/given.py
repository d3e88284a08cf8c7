"""What a user gives as data, told apart: files, tables, arrays, data sets, loaders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from metaweight.data.rows import Rows, of_frame
from metaweight.data.rows.parts import same_columns
from metaweight.data.rows.source import read_rows
from metaweight.tasks.module.data import TARGET

if TYPE_CHECKING:
    import pandas as pd

TEXT = "text"
TOKENS = "tokens"


def is_place(data: Any) -> bool:
    """Whether data lie in a file, a folder or on the hub."""
    return isinstance(data, str | PathLike)


def is_sentences(X: Any) -> bool:
    """Whether ``X`` is a list of lists of words."""
    return isinstance(X, list | tuple) and any(
        isinstance(row, list | tuple) and row and all(isinstance(word, str) for word in row) for row in X
    )


def as_rows(
    data: Any, part: str, read: Callable[[str, str], Rows] = read_rows, *, tagged: bool = False
) -> Rows:
    """A file, a DataFrame, a Hugging Face data set, or a pair (X, y) of arrays or frames, as rows with names.

    ``read``: (file, part) -> its rows; ``tagged``: whether each word has a label.  Of a pair the labels are
    the column ``target``, a list of texts is the column ``text``, one of lists of words ``tokens``.  Raises
    TypeError for what is none of these, ValueError for lengths that differ.
    """
    import pandas as pd

    if is_place(data):
        return read(str(data), part)
    if isinstance(data, pd.DataFrame):
        return of_frame(data, f"{part} rows")
    if hasattr(data, "to_pandas") and hasattr(data, "features"):
        return of_frame(data.to_pandas(), f"{part} rows")
    if isinstance(data, tuple) and len(data) == 2:
        return of_frame(_pair(*data, tagged=tagged), f"{part} rows")
    raise TypeError(
        f"{part} is a file, a DataFrame, a pair (X, y) or a Hugging Face data set for a model by name, got a "
        f"{type(data).__name__}; other data sets go with a torch module of your own"
    )


def _pair(X: Any, y: Any, *, tagged: bool) -> Any:
    """X and y as one frame."""
    frame = _frame(X, tagged=tagged)
    labels = y.detach().cpu().numpy() if isinstance(y, Tensor) else y
    if len(frame) != len(labels):
        raise ValueError(f"X has {len(frame)} rows and y {len(labels)}: give each row its label")
    if TARGET in frame.columns:
        raise ValueError(f"X has a column {TARGET!r} already, where the labels of y go: rename it")
    if tagged:
        return frame.assign(**{TARGET: list(labels)})
    values = np.asarray(labels)
    return frame.assign(**{TARGET: list(values) if values.ndim > 1 else values})


def _frame(X: Any, *, tagged: bool = False) -> pd.DataFrame:
    """X as a frame of its own, columns under names."""
    import pandas as pd

    if isinstance(X, pd.DataFrame):
        frame = X.copy(deep=False)
    elif tagged:
        frame = pd.DataFrame({TOKENS: list(X)})
    elif isinstance(X, list | tuple) and X and isinstance(X[0], str):
        frame = pd.DataFrame({TEXT: list(X)})
    elif isinstance(X, pd.Series):
        frame = X.to_frame(TEXT if X.name is None else str(X.name))
    else:
        frame = pd.DataFrame(np.asarray(X.detach().cpu() if isinstance(X, Tensor) else X))
    frame.columns = [str(name) for name in frame.columns]
    return frame


def later_rows(X: Any, columns: Sequence[str], *, tagged: bool = False) -> Rows:
    """Rows like those of training, which had ``columns``: a frame, an array, a list of texts or of sentences.

    Raises ValueError, with the nearest name, for a column that is missing.
    """
    frame = _frame(X, tagged=tagged)
    if len(columns) == 1 and len(frame.columns) == 1:
        frame.columns = list(columns)
    return same_columns(of_frame(frame.reset_index(drop=True), "given rows"), columns)


def as_dataset(data: Any, part: str, *, label: str | None = None) -> Any:
    """A data set of (input, target) for a module of the user's own.

    Raises TypeError for what has no length and positions, ValueError for a table that is not all numbers.
    """
    import pandas as pd

    if isinstance(data, DataLoader):
        return data.dataset
    if isinstance(data, tuple) and len(data) == 2:
        X, y = data
        return TensorDataset(_numbers(X, part), _targets(y))
    if isinstance(data, pd.DataFrame) or is_place(data):
        rows = as_rows(data, part)
        if label is None:
            raise ValueError(f"a table needs its column of labels named, label=COLUMN, for {part}")
        cells = rows.column(label).to_numpy()
        return TensorDataset(_numbers(rows.without(label).frame, part), _targets(cells))
    if hasattr(data, "features") and hasattr(data, "with_format"):
        return Formatted(data.with_format("torch"), label)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, Mapping):
        return data
    raise TypeError(
        f"{part} is a data set with positions, a DataLoader, a table or a pair (X, y), got a "
        f"{type(data).__name__}"
    )


class Formatted:
    """A Hugging Face data set whose column ``label`` is called as a module's targets are."""

    def __init__(self, rows: Any, label: str | None) -> None:
        self.rows, self.label = rows, label

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        item = dict(self.rows[position])
        return item if self.label is None else {**item, "labels": item.pop(self.label)}


def _numbers(X: Any, part: str) -> Tensor:
    if isinstance(X, Tensor):
        return X
    values = np.asarray(X)
    if values.dtype.kind not in "fiub":
        raise ValueError(
            f"X of {part} holds {values.dtype}, and a module takes numbers: encode it, or name a model "
            "(tabular-mlp), which does that"
        )
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _targets(y: Any) -> Tensor:
    if isinstance(y, Tensor):
        return y
    values = np.asarray(y)
    if values.dtype.kind not in "fiub":
        raise ValueError(
            f"targets of a module are numbers, got {values.dtype}: write classes as 0 to C - 1, or name a "
            "model"
        )
    return torch.from_numpy(
        values.astype(np.float32) if values.dtype.kind == "f" else values.astype(np.int64)
    )
