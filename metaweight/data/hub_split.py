"""One split of a data set of the Hugging Face hub, or on disk, and where each of its rows came from."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaweight.core.registry import did_you_mean
from metaweight.data.hub import parse_hub
from metaweight.data.origins import Origins

EXAMPLE = "write hf:NAME[@CONFIG][?split=SPLIT]"


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


def load_part(text: str, part: str) -> HubSplit:
    """What ``text``, ``hf:NAME[@CONFIG][?split=SPLIT]``, names for a ``part`` (train, test, ...) of own data.

    By default it is the split of the part's name, or the only one.  Raises ValueError as ``load_split`` and
    ``parse_hub``, and where it cannot be told which split.
    """
    import datasets

    name, config, options = parse_hub(text, ("split",), example=EXAMPLE)
    folder = Path(name).expanduser()
    if (folder / "state.json").is_file() and not (folder / "dataset_dict.json").is_file():
        if options:
            raise ValueError(f"{text}: one split alone is saved there; leave ?split= out")
        rows = datasets.load_from_disk(str(folder))
        return HubSplit(rows, Origins.of(f"hf:{name}", range(1, len(rows) + 1)))
    split = options.get("split")
    if split is None:
        names = _split_names(name, config)
        if part not in names and len(names) != 1:
            raise ValueError(
                f"{text} has the splits {', '.join(names)}: say which one is {part} with ?split=SPLIT"
            )
        split = part if part in names else names[0]
    return load_split(name, config, split, splits=("split",))


def _split_names(name: str, config: str | None) -> list[str]:
    """Raises ValueError where the data set cannot be found."""
    import datasets

    folder = Path(name).expanduser()
    if (folder / "dataset_dict.json").is_file():
        saved: list[str] = json.loads((folder / "dataset_dict.json").read_text())["splits"]
        return saved
    if folder.is_file():
        return ["train"]
    if name.startswith((".", "/", "~")) and not folder.exists():
        raise ValueError(f"hf:{name}: there is no such file or folder")
    try:
        return list(datasets.get_dataset_split_names(str(folder) if folder.exists() else name, config))
    except (OSError, ValueError, AssertionError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"hf:{name} cannot be loaded: {error} Check the name, or without a network name a folder: hf:PATH"
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
