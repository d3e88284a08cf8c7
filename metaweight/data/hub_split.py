"""One split of a data set of the Hugging Face hub, or on disk, and where each of its rows came from."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaweight.core.registry import did_you_mean
from metaweight.data.origins import Origins


class HubSplit(NamedTuple):
    """A split as it was asked for."""

    rows: Any
    """A ``datasets.Dataset``."""
    origins: Origins
    """``hf:NAME, split SPLIT`` and the row from 1 in the whole of that split, whatever was cut out of it."""


def load_split(name: str, config: str | None, split: str, *, splits: Sequence[str]) -> HubSplit:
    """The split, or parts of splits (``train[80%:]``, ``train[:9]+test``), of ``name``.

    ``name``: of the hub, or a path.  ``splits``: the options that name splits, for the message of the
    ValueError where it cannot be loaded.
    """
    import datasets

    if name.startswith((".", "/", "~")) and not Path(name).expanduser().exists():
        raise ValueError(f"hf:{name}: there is no such file or folder")
    try:
        return _cut(name, config, split, splits)
    except (OSError, ValueError, AssertionError, datasets.exceptions.DatasetsError) as error:
        query = "&".join(f"{option}=NAME" for option in splits)
        raise ValueError(
            f"hf:{name}, split {split!r}, cannot be loaded: {error} Check name and splits (?{query}), "
            "or without a network name a folder: hf:PATH"
        ) from error


def _cut(name: str, config: str | None, split: str, splits: Sequence[str]) -> HubSplit:
    """Whole splits are loaded and cut here: the library forgets which rows a part has."""
    import datasets

    place = f"hf:{name}" + (f"@{config}" if config else "")
    if not set("[+(") & set(split):
        rows = _whole(name, config, split, splits)
        return HubSplit(rows, Origins.of(f"{place}, split {split}", range(1, len(rows) + 1)))
    instruction = datasets.ReadInstruction.from_spec(split)
    names = dict.fromkeys(term.strip().partition("[")[0].partition("(")[0] for term in split.split("+"))
    whole = {part: _whole(name, config, part, splits) for part in names}
    parts, origins = [], []
    for part in instruction.to_absolute({part: len(rows) for part, rows in whole.items()}):
        parts.append(whole[part.splitname].select(range(part.from_, part.to)))
        origins.append(Origins.of(f"{place}, split {part.splitname}", range(part.from_ + 1, part.to + 1)))
    if not any(map(len, origins)):
        raise ValueError("this part of it holds no data.")
    return HubSplit(datasets.concatenate_datasets(parts), functools.reduce(Origins.join, origins))


def _whole(name: str, config: str | None, split: str, splits: Sequence[str]) -> Any:
    import datasets

    path = Path(name).expanduser()
    if (path / "dataset_dict.json").is_file():
        saved = datasets.load_from_disk(str(path))
        if split not in saved:
            raise ValueError(f"no split {split!r}.{did_you_mean(split, saved)}")
        return saved[split]
    if (path / "state.json").is_file():
        wanted = " and ".join(splits)
        raise ValueError(f"one split alone is saved there; save a DatasetDict with {wanted}")
    if path.is_file():
        return datasets.load_dataset("parquet", data_files={"train": str(path)}, split=split)
    return datasets.load_dataset(str(path) if path.exists() else name, config, split=split)
